"""Weights of portfolios: made from a selection, kept within limits, traded when it is worth it.

Within `weights` of a strategy each takes features and gives a feature, so that all of it steps live, serves parameters
that a search has not chosen yet, and cannot look ahead.
"""

from typing import TYPE_CHECKING, NoReturn

from knowable.errors import UnknownAttributeError, unknown_name
from knowable.portfolio.limits import cap, cap_groups, target_volatility
from knowable.portfolio.solved import mean_variance, risk_parity
from knowable.portfolio.trading import drift_band, limit_turnover, rebalance
from knowable.portfolio.volatility import inverse_volatility

__all__ = [
    "cap",
    "cap_groups",
    "drift_band",
    "inverse_volatility",
    "limit_turnover",
    "mean_variance",
    "rebalance",
    "risk_parity",
    "target_volatility",
]

if not TYPE_CHECKING:  # a checker knows the names, and would take every other for one

    def __getattr__(name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UnknownAttributeError(str(unknown_name("function", name, __all__, where="kn.portfolio")))
