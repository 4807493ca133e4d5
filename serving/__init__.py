"""Who to call today, and why: scores with reasons, over HTTP and in the nightly batch."""
