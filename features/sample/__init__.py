"""The sample CRM, on which everything can be tried and of which the best reachable AUC is known."""

from features.sample.crm import CUSTOMERS, Sample, make
from features.sample.turn import Turn

__all__ = ["CUSTOMERS", "Sample", "Turn", "make"]
