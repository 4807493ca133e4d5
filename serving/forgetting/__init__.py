"""Forgetting a person wherever scores, answers and receipts of them lie, and proving that nothing is left."""
