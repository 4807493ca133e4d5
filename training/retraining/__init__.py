"""Training again: why one would now, whether one may, what came of it, and what became of the new champion."""
