"""Forgetting a person: who is forgotten, and how they leave tables, snapshots and the online store, and never come back."""
