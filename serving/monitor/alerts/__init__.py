"""Alerts: what is open, and who is told of it."""
