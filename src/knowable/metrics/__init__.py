"""What a result is measured by: one table of figures, each with its definition and source."""

from knowable.metrics.definitions import DEFINITIONS, METRICS
from knowable.metrics.describe import describe

__all__ = ["DEFINITIONS", "METRICS", "describe"]
