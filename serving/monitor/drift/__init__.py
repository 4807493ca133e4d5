"""Drift: what was served held against what its version was trained on."""
