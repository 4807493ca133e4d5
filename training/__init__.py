"""What will happen, learned: labels, datasets, models, reports and the registry."""
