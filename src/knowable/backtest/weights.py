"""From what a strategy returns to a checked panel of target weights."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.panels import float_panel, frame_panel
from knowable.backtest.polars_frames import from_polars, is_polars
from knowable.calendars import period_ends
from knowable.data.market import Market, members_of
from knowable.errors import KnowableError, ShapeError, StrategyError
from knowable.features import Feature, NeedsValue
from knowable.features.models.label import Label
from knowable.features.models.untrained import untrained
from knowable.features.node import topological
from knowable.strategy import Strategy, gives_signals, is_event_driven

__all__ = [
    "call_weights",
    "decision_rows",
    "explain_failure",
    "expression_of",
    "members_only",
    "place_of",
    "target_weights",
    "untrained_models",
    "weights_panel",
]

Panel: TypeAlias = npt.NDArray[np.float64]


def target_weights(strategy: Strategy, market: Market) -> Panel:
    """Run a strategy over a market and check what it returns.

    Args:
        strategy: an instance; its `weights` is called once with `market`. One that decides bar by bar is run on an
            account of its own, and what it asks for is returned as weights (see `bar_by_bar.decisions`).
        market: n_bars rows, n_assets columns.

    Returns: (n_bars, n_assets) float64, read-only, fractions of equity. NaN: no opinion. Where the market has a
        universe, a non-member's target is 0: it is sold on the next row that the strategy acts on.

    Raises:
        StrategyError: `weights` raised, or returned something that is not weights.
        ShapeError: wrong shape, index or columns.
    """
    return weights_panel(call_weights(strategy, market), strategy, market)


def call_weights(strategy: Strategy, market: Market) -> Any:
    """Call `strategy.weights(market)`; an exception becomes a StrategyError that names parameters and line.

    Of an event-driven strategy: what it asks for, (n_bars, n_assets); of signals: `SignalPanels.cells`.
    """
    if gives_signals(strategy):
        from knowable.backtest.signals import call_signals, signal_panels  # it needs this module

        return signal_panels(call_signals(strategy, market).given(), strategy, market).cells()
    if is_event_driven(strategy):
        from knowable.backtest.bar_by_bar import decisions  # it needs this module

        return decisions(strategy, market)
    try:
        return strategy.weights(market)
    except NeedsValue:
        raise
    except KnowableError as error:
        error.add_note(f"In {strategy!r}.weights{place_of(error)}.")
        raise
    except (Exception, SystemExit, GeneratorExit) as error:  # a strategy ends its trial, never the program
        raise explain_failure(strategy, error) from error


def explain_failure(strategy: Strategy, error: BaseException, method: str = "weights") -> StrategyError:
    """The StrategyError for an exception in the user's code: what, where, with which parameters, and what to do."""
    text = f"{type(error).__name__}: {error}".splitlines()[0][:300].encode("utf-8", "replace").decode()
    remedy = f"To look closer, call strategy.{method}(market) yourself."
    if type(error).__name__ == "NotFittedError":  # scikit-learn's, whichever way it was imported
        remedy = (
            "The model was never fitted, and one fitted beforehand would know the future. Let the platform fit it, "
            "each time\nto what was known by then: kn.model(estimator, features, kn.label(feature, ahead=21))."
        )
    return StrategyError(f"{strategy!r}.{method} raised {text}\nRaised{place_of(error)}.\n{remedy}")


def expression_of(returned: Any, market: Market) -> object | None:
    """The structure of an expression on this very market, the same object for equal ones; None for anything else.

    The language has no way to look ahead, so equal structures mean equal weights on the rows that two markets share.
    """
    return returned.node if type(returned) is Feature and returned.market is market else None


def untrained_models(returned: Any, market: Market) -> list[str] | None:
    """Estimators of the models in an expression on this market whose predictions do not hang on what trains them.

    None where there is no model in it, or no expression.
    """
    if type(returned) is not Feature or not any(each.op == "model" for each in topological(returned.node)):
        return None
    return untrained(returned.node, market)


def weights_panel(returned: Any, strategy: Strategy, market: Market) -> Panel:
    """Turn what `weights` returned into a checked panel. Shapes, NaN policy and errors as `target_weights`."""
    if isinstance(returned, Feature):
        panel = returned.values()
    elif isinstance(returned, pd.DataFrame):
        panel = frame_panel(returned, "weights", strategy, market)
    elif isinstance(returned, np.ndarray):
        panel = returned
    elif is_polars(returned):
        panel = from_polars(returned, strategy, market)
    elif isinstance(returned, Label):
        raise StrategyError(returned.refusal(f"came from {strategy!r}.weights, where it cannot go"))
    else:
        hint = "; is a `return` missing?" if returned is None else "."
        raise StrategyError(
            f"{strategy!r}.weights returned a {type(returned).__name__}; "
            f"a feature, a DataFrame or an array (n_bars, n_assets) is needed{hint}"
        )
    if panel.shape != market.shape:
        raise ShapeError(
            f"`weights` returned shape {panel.shape}; the market needs (n_bars, n_assets) = {market.shape}, "
            f"in {strategy!r}."
        )
    return members_only(_numbers(panel, strategy, market), market)


def members_only(weights: Panel, market: Market) -> Panel:
    """The same targets, but 0 for assets that are no members on that bar; `weights` itself without a universe."""
    members = members_of(market)
    if members is None:
        return weights
    kept = np.where(members, weights, 0.0)
    kept.flags.writeable = False
    return kept


def decision_rows(strategy: Strategy, market: Market) -> npt.NDArray[np.bool_]:
    """(n_bars,) True where the strategy's `rebalance` rule lets its weights act."""
    return period_ends(market.times, market.days, strategy.rebalance, market.calendar)


def _numbers(panel: npt.NDArray[Any], strategy: Strategy, market: Market) -> Panel:
    weights = float_panel(panel, "weights", strategy)
    bad = np.isinf(weights)
    if bad.any():
        row, column = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise StrategyError(
            f"`weights` of {market.assets[column]!r} is infinite at {market.index[row]} (row {row}), in {strategy!r}; "
            f"{int(bad.sum())} such in all.\nA division by zero is the usual cause; use where(total > 0, x / total, 0)."
        )
    if weights.flags.writeable:
        weights = weights.view()
        weights.flags.writeable = False
    return weights


def place_of(error: BaseException) -> str:
    """Where in the user's own code an exception came from: the last frame outside this package and libraries."""
    ours = str(Path(__file__).resolve().parents[1])
    made = ("<string>", "__init__")  # of a dataclass, such as Signals
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(ours) and (frame.filename, frame.name) != made
    ]
    theirs = [f for f in frames if "site-packages" not in f.filename] or frames
    if not theirs:
        return ""
    last = theirs[-1]
    line = f": `{last.line.strip()[:100]}`" if last.line else ""
    return f" at {Path(last.filename).name}, line {last.lineno}{line}"
