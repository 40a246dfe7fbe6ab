"""From target weights to a result: validate, run the ledger, measure."""

from knowable.backtest.costs import Costs
from knowable.backtest.reasons import Ending, Reason
from knowable.backtest.result import Result
from knowable.backtest.settings import Settings
from knowable.backtest.simulate import Scores, score, simulate
from knowable.backtest.weights import decision_rows, target_weights

__all__ = [
    "Costs",
    "Ending",
    "Reason",
    "Result",
    "Scores",
    "Settings",
    "decision_rows",
    "score",
    "simulate",
    "target_weights",
]
