"""The tables: what is wrong with them by their own history."""
