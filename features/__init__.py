"""What was known, when: tables, quality, snapshots and the feature store."""
