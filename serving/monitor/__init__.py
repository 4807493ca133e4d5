"""Monitoring: what was served held against what happened, what is to be expected before that is known, and what has moved."""
