"""Target weights in, a result out: one trial with all its records, or many trials with their figures only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.backtest.costs import cost_field
from knowable.backtest.record import LedgerRecord, run_ledger
from knowable.backtest.remarks import held_without_price, remarks
from knowable.backtest.result import Result
from knowable.backtest.settings import Settings
from knowable.backtest.tape import Tape, last_before, marks_before, read_only, read_tape, rules_of
from knowable.backtest.traded import marked, money_of, total_return, traded_panel, what_is_lost
from knowable.backtest.units import unit_remarks
from knowable.data.market import Market
from knowable.errors import InputError, ShapeError
from knowable.kernels.account import ORDER_ASSET, ORDER_FILLED
from knowable.kernels.ledger import NO_LIMIT, check_kernel
from knowable.kernels.scoring import score_kernel
from knowable.kernels.statistics import N_BLOCKS, N_FIGURES, N_MOMENTS
from knowable.metrics.definitions import METRICS
from knowable.metrics.describe import measure

__all__ = ["Scores", "explain_leverage", "leverage_limit", "result_of", "score", "simulate"]

Panel = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

_STACK_BYTES = 8 << 20
_PER_CENT = 10.0  # a sum of weights from which per cents are likelier than leverage
_DRAWN = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Figures of k trials.

    Attributes:
        metrics: (k, n_metrics) in the order of `METRICS`; NaN where not defined, and all NaN where a trial failed.
        moments: (k, N_BLOCKS, 3) count, sum and sum of squares of the bar returns in even blocks of bars.
        errors: (k,) why a trial could not be run, else None.
    """

    metrics: Panel
    moments: Panel
    errors: tuple[str | None, ...]


def simulate(
    weights: Panel,
    decide: Rows,
    market: Market,
    settings: Settings,
    *,
    start: int = 0,
    stop: int | None = None,
    on_change: bool = False,
    name: str = "",
    params: Mapping[str, Any] = MappingProxyType({}),
) -> Result:
    """Run target weights through the ledger, keeping every record.

    Args:
        weights: (n_bars, n_assets) target weights, fractions of equity; NaN: no opinion. Row t is decided at
            market.decision_times[t] and fills as `settings.fill` says.
        decide: (n_bars,) rows on which targets are taken.
        market: prices; fills and marks use its final values, shares counted at the decision those known then.
        settings: the account.
        start: first row to run; the account starts there with nothing but cash.
        stop: row after the last; all when None.
        on_change: act on a row only if it differs from the last one acted on.
        name: of the strategy, for people.
        params: of the strategy, for people.

    Raises:
        ShapeError: weights or decide do not fit the market.
        InputError: sum of |w|, with those that NaN keeps, above `max_leverage` (strict), an infinite weight, rows
            outside the market, or a market without the prices that `fill` needs.
    """
    tape = read_tape(market, settings, start, stop)
    panel, rows = _cut(weights, market, tape), _cut_rows(decide, market, tape)
    fault = check_kernel(panel, rows, leverage_limit(settings), np.zeros(market.n_assets))
    if fault[0] >= 0:
        raise InputError(_explain(fault, panel, market, tape, settings))
    record = run_ledger(
        panel, rows, tape, rules_of(settings, on_change=on_change, futures=tape.futures), cash=settings.cash
    )
    return result_of(record, market, settings, start=tape.start, stop=tape.stop, name=name, params=params)


def result_of(
    record: LedgerRecord,
    market: Market,
    settings: Settings,
    *,
    start: int,
    stop: int,
    name: str,
    params: Mapping[str, Any],
) -> Result:
    """Measure a ledger's record and say what a reader must know. Arguments as `simulate`."""
    figures, returns, _ = measure(record.equity, settings.cash, market.bars_per_year, record.activity)
    metrics = dict(zip(METRICS, figures.tolist(), strict=True))
    return Result(
        name=name,
        params=MappingProxyType(dict(params)),
        settings=settings,
        metrics=MappingProxyType(metrics),
        warnings=remarks(metrics, record, settings, market.index[start:stop])
        + unit_remarks(settings.costs, market, start, stop)
        + held_without_price(record, market.final["close"][start:stop], market.index[start:stop], market.assets)
        + market.notes
        + what_is_lost(market, start, stop),
        index=market.index[start:stop],
        times=market.times[start:stop],
        days=market.days[start:stop],
        assets=market.assets,
        bars_per_year=market.bars_per_year,
        pins=market.pins,
        prices=_kept(market, settings, start, stop),
        marks=read_only(marks_before(market, start)),
        volumes=_volumes(record, market, start),
        record=record,
        bar_returns=read_only(returns),
    )


def _kept(market: Market, settings: Settings, start: int, stop: int) -> dict[str, Panel]:
    """What tables read of the market beside the record: its prices, and what borrowing cost where that is a field."""
    kept = {name: traded_panel(market, name)[start:stop] for name in _DRAWN if name in market.final}
    kept |= {name: market.final[name][start:stop] for name in ("funded",) if name in market.final}
    money = money_of(market, "close")
    if money is not None:
        kept["money"] = read_only(np.ascontiguousarray(np.broadcast_to(money, market.shape)[start:stop]))
        if "fx" in market.final and np.isnan(kept["close"]).any():
            kept["marks"] = marked(market)[start:stop]
    if market.books_actions or "fx" in market.final:
        total = total_return(market)
        held, before = total[start:stop].copy(), last_before(total, start)
        held[0] = np.where(np.isnan(held[0]) & (before > 0.0), before, held[0])
        kept["total_return"] = read_only(held)
    rate = settings.costs.borrow_bps_year
    if isinstance(rate, str):
        kept["borrow_bps_year"] = cost_field("borrow_bps_year", rate, market, start, stop)
    return kept


def _volumes(record: LedgerRecord, market: Market, start: int) -> Panel | None:
    """(n_orders,) volume of the bar on which each order was filled; None for a market without. No panel of it is kept,
    since there are far fewer fills than cells.
    """
    if "volume" not in market.final:
        return None
    found = np.full(len(record.orders), np.nan)
    bar = record.orders[:, ORDER_FILLED].astype(np.int64)
    rows = np.flatnonzero(bar >= 0)
    found[rows] = traded_panel(market, "volume")[start + bar[rows], record.orders[rows, ORDER_ASSET].astype(np.int64)]
    return read_only(found)


def score(
    weights: Panel | Sequence[Panel],
    decide: Rows,
    market: Market,
    settings: Settings,
    *,
    start: int = 0,
    stop: int | None = None,
    on_change: bool = False,
    tape: Tape | None = None,
) -> Scores:
    """Figures of k trials that differ in their weights; the same to the bit as `simulate(...).metrics`.

    Holds no lock while it runs, so threads may score at once. Small panels are stacked and run in one call; large ones
    run one by one, without a copy.

    Args:
        weights: k panels as for `simulate`: a sequence of (n_bars, n_assets), or one array (k, n_bars, n_assets).
        decide: as for `simulate`; the rest too.
        market: see `simulate`.
        settings: see `simulate`.
        start: see `simulate`.
        stop: see `simulate`.
        on_change: see `simulate`.
        tape: what `read_tape` gave for this market and these settings, where the caller has it; its rows are run then.

    Raises: as `simulate`, but a trial whose weights break the leverage rule has its sentence in `errors`.
    """
    tape = read_tape(market, settings, start, stop) if tape is None else tape
    rows = _cut_rows(decide, market, tape)
    rules = rules_of(settings, on_change=on_change, futures=tape.futures)
    n_trials = len(weights)
    metrics = np.full((n_trials, N_FIGURES), np.nan)
    moments = np.full((n_trials, N_BLOCKS, N_MOMENTS), np.nan)
    faults = np.empty((n_trials, 2))
    size = max(1, _STACK_BYTES // max(1, 8 * tape.feed.price.size))
    for at in range(0, n_trials, size):
        part = slice(at, at + size)
        stack = _stack(weights[part], market, tape)
        score_kernel(
            stack,
            rows,
            tape.feed,
            tape.marks,
            tape.unfunded,
            rules,
            settings.cash,
            float(market.bars_per_year),
            metrics[part],
            moments[part],
            faults[part],
        )
    errors = tuple(
        None if row < 0 else _explain((int(row), gross), panel[tape.start : tape.stop], market, tape, settings)
        for (row, gross), panel in zip(faults.tolist(), weights, strict=True)
    )
    return Scores(metrics=metrics, moments=moments, errors=errors)


def _stack(panels: Panel | Sequence[Panel], market: Market, tape: Tape) -> Panel:
    """(k, n_bars, n_assets) the rows of a tape; a view where they stand together already."""
    if isinstance(panels, np.ndarray) and panels.shape[1:] == market.shape:
        return read_only(np.ascontiguousarray(panels[:, tape.start : tape.stop], dtype=np.float64))
    cut = [_cut(panel, market, tape) for panel in panels]
    return read_only(cut[0][None] if len(cut) == 1 else np.stack(cut))


def _cut(weights: Panel, market: Market, tape: Tape) -> Panel:
    if weights.shape != market.shape:
        raise ShapeError(f"`weights` has shape {weights.shape}; the market needs (n_bars, n_assets) = {market.shape}.")
    return read_only(np.ascontiguousarray(weights[tape.start : tape.stop], dtype=np.float64))


def _cut_rows(decide: Rows, market: Market, tape: Tape) -> Rows:
    if decide.shape != (market.n_bars,) or decide.dtype != np.bool_:
        raise ShapeError(
            f"`decide` has shape {decide.shape} and dtype {decide.dtype}; it must be bool of shape ({market.n_bars},)."
        )
    return read_only(np.ascontiguousarray(decide[tape.start : tape.stop]))


def leverage_limit(settings: Settings) -> float:
    """Sum of |w| above which a row of weights is refused."""
    return NO_LIMIT if settings.leverage_check == "scale" else settings.max_leverage


def _explain(fault: tuple[int, float], weights: Panel, market: Market, tape: Tape, settings: Settings) -> str:
    """The sentence for a row of weights that breaks the leverage rule."""
    row, gross = fault
    return explain_leverage(gross, market, tape.start + row, settings, kept=bool(np.isnan(weights[row]).any()))


def explain_leverage(gross: float, market: Market, row: int, settings: Settings, *, kept: bool) -> str:
    """The sentence for weights whose absolute sum is too large.

    Args:
        gross: that sum.
        market: for the label.
        row: of the market.
        settings: whose limit it breaks.
        kept: some weights were stated on an earlier row.
    """
    where = f"row {row} ({market.index[row]})"
    if not np.isfinite(gross):
        return f"Weights must be finite or NaN, but {where} holds an infinite one."
    also = " (NaN keeps a position, so the last weight stated for it counts)" if kept else ""
    return (
        f"`sum of |weights| <= max_leverage` must hold, but on {where} the sum is {gross:.6g}{also} "
        f"and max_leverage={settings.max_leverage:g}.\n"
        "Make the weights smaller, raise max_leverage, or scale such rows down with leverage_check='scale'."
        + (" A weight is a fraction of equity: 0.5 for fifty per cent." if gross >= _PER_CENT else "")
    )
