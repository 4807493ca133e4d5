"""The night: from an export to scores, step by step; killed anywhere and run again, it ends as if nothing had happened."""
