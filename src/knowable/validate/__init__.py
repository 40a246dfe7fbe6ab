"""Whether to believe a result: splits, overfitting statistics, the search for look-ahead."""

from knowable.validate.findings import Finding, LeakReport
from knowable.validate.leaks import check
from knowable.validate.overfitting import (
    Pbo,
    Track,
    deflated_sharpe,
    expected_max_sharpe,
    min_track_record,
    pbo,
    pbo_from_moments,
    psr,
)
from knowable.validate.splits import CpcvSplit, Fold, cpcv, cpcv_paths, walk_forward
from knowable.validate.trials import (
    block_moments,
    effective_trials,
    effective_trials_from_moments,
    sharpes_from_moments,
)

__all__ = [
    "CpcvSplit",
    "Finding",
    "Fold",
    "LeakReport",
    "Pbo",
    "Track",
    "block_moments",
    "check",
    "cpcv",
    "cpcv_paths",
    "deflated_sharpe",
    "effective_trials",
    "effective_trials_from_moments",
    "expected_max_sharpe",
    "min_track_record",
    "pbo",
    "pbo_from_moments",
    "psr",
    "sharpes_from_moments",
    "walk_forward",
]
