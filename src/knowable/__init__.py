"""Research on what was knowable at the time: point-in-time data, a compiled backtester, a doubting optimizer.

The public names live here and nothing else does; each is loaded from its room when first used, so that importing the
package costs little.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from knowable.backtest.costs import Costs
    from knowable.backtest.result import Result
    from knowable.backtest.signals import Signals
    from knowable.data.market import Market
    from knowable.data.schema import Schema
    from knowable.data.store import Store
    from knowable.errors import KnowableError
    from knowable.experiments.backtest import backtest
    from knowable.experiments.checking import check
    from knowable.experiments.resume import load_run, resume
    from knowable.experiments.search import optimize, walk_forward
    from knowable.experiments.sweep import sweep
    from knowable.features.models.label import label
    from knowable.features.models.model import model
    from knowable.params import Choice, Float, Int
    from knowable.strategy import Strategy

__all__ = [
    "Choice",
    "Costs",
    "Float",
    "Int",
    "KnowableError",
    "Market",
    "Result",
    "Schema",
    "Signals",
    "Store",
    "Strategy",
    "backtest",
    "check",
    "label",
    "load_run",
    "model",
    "optimize",
    "resume",
    "sweep",
    "walk_forward",
]

__version__ = "0.1.0"

_HOME = {
    "Choice": "params",
    "Costs": "backtest.costs",
    "Float": "params",
    "Int": "params",
    "KnowableError": "errors",
    "Market": "data.market",
    "Result": "backtest.result",
    "Schema": "data.schema",
    "Signals": "backtest.signals",
    "Store": "data.store",
    "Strategy": "strategy",
    "backtest": "experiments.backtest",
    "check": "experiments.checking",
    "label": "features.models.label",
    "load_run": "experiments.resume",
    "model": "features.models.model",
    "optimize": "experiments.search",
    "resume": "experiments.resume",
    "sweep": "experiments.sweep",
    "walk_forward": "experiments.search",
}
_ROOMS = frozenset({"features", "portfolio", "search"})


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"knowable.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'knowable' has no attribute {name!r}; it offers {', '.join(__all__)}")
    if name in {"Market", "Store"}:
        import_module("knowable.features")  # a market's fields read as features
        import_module("knowable.analysis")  # and features can be analysed
    value = getattr(import_module(f"knowable.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS, "__version__"]


class _Face(ModuleType):
    """Keeps ``kn.backtest`` the function: importing the room of that name would put the module in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
