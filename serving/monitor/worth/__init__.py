"""What acting on scores was worth: held out against scored, explored against not."""
