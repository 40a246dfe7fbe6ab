"""Corporate actions over a market: prices adjusted forward from their first bar, and the actions as rows to book.

What one share of an asset's first bar has become by row t, by the actions in force by then, is a factor; raw price
times factor is what that holding is worth. So the adjusted close of row t is made of rows <= t alone, and no later
action changes it, as it would if prices were adjusted backward.

The return over a bar is ``(close[t] * ratio + amount) / close[t-1] - 1``, with the ratio of a split and the amount per
old share of a distribution whose ex-date is that bar's: the holding-period return of the Center for Research in
Security Prices (CRSP, "Data Descriptions Guide: US Stock and US Index Databases", Returns) and of total-return indices
(S&P Dow Jones Indices, "Index Mathematics Methodology"). A distribution thus buys shares at the close of the ex-date's
first bar with a price. Vendors' adjusted closes divide by ``1 - amount / close[t-1]`` instead, as if shares were bought
at the previous close less the amount; the two differ by the product of yield and that bar's return.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.market_actions import MarketActions
from knowable.errors import InputError, unknown_name
from knowable.kernels.adjust import AdjustState, adjust_kernel

__all__ = ["ADJUST", "Adjusted", "Statement", "adjust_panels", "forward_factors", "statements"]

Panel = npt.NDArray[np.float64]
ADJUST = ("total_return", "split", "none")
PRICED = ("open", "high", "low", "close", "vwap")
NEVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What was said of one action, and while it stood: known <= decision < until, in ns UTC."""

    asset: int
    ex: int
    type: str
    known: int
    until: int
    ratio: float
    amount: float
    currency: str | None
    successor: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adjusted:
    """Panels of a market with its corporate actions, and what to say of them."""

    panels: Mapping[str, Panel]
    final: Mapping[str, Panel]
    actions: MarketActions
    notes: tuple[str, ...]


def statements(rows: pa.Table, assets: Sequence[str], keys: Sequence[str] = ("type",)) -> list[Statement]:
    """Each standing statement of each action, by the as-of rule.

    Args:
        rows: of a dataset of actions, as stored, in any order.
        assets: whose actions count; their places are the `asset` of a statement.
        keys: of the dataset, ``"type"`` among them: what tells actions of an asset and ex-date apart.
    """
    held = rows.filter(pc.is_in(rows["entity"], pa.array(list(assets), pa.string())))
    place = {name: j for j, name in enumerate(assets)}
    plain = {name: held[name].to_pylist() for name in held.column_names if not name.endswith("_time")}
    times = {name: (held[name].cast(pa.int64()).to_numpy() * 1000).tolist() for name in ("event_time", "known_time")}
    retract = [op == "retract" for op in plain["op"]]
    order = sorted(range(held.num_rows), key=lambda k: (times["known_time"][k], plain["revision"][k], retract[k]))
    periods: dict[tuple[Any, ...], list[int]] = {}
    for k in order:
        told_apart = [plain[key][k] for key in keys]
        periods.setdefault((plain["entity"][k], times["event_time"][k], *told_apart), []).append(k)
    found = []
    for (entity, ex, *_), history in periods.items():
        for k, known, until in _spans(history, retract, times["known_time"]):
            found.append(
                Statement(
                    asset=place[entity],
                    ex=ex,
                    type=plain["type"][k],
                    known=known,
                    until=until,
                    ratio=_number(plain["ratio"][k]),
                    amount=_number(plain["amount"][k]),
                    currency=plain["currency"][k],
                    successor=plain["successor"][k],
                )
            )
    return sorted(found, key=lambda s: (s.asset, s.ex, s.type == "split", s.known))


def forward_factors(
    held: Sequence[Statement],
    close: Panel,
    *,
    times: Nanos,
    decision: Nanos,
    assets: Sequence[str],
    currency: str | None = None,
) -> tuple[Panel, Panel]:
    """Shares that one share of each asset's first bar has become, as known at each decision.

    Args:
        held: statements, as `statements` orders them.
        close: (n_bars, n_assets) raw closes as known; NaN: a distribution buys at the next one.
        times: (n_bars,) int64 ns UTC bar ends.
        decision: (n_bars,) int64 ns UTC.
        assets: column names.
        currency: of the closes; distributions in another one are left out.

    Returns: (by splits alone, by splits and distributions), both (n_bars, n_assets) float64, 1 from an asset's first
        bar until its first action. Known at: row t uses closes of rows <= t and statements known by decision[t].
    """
    place = {name: j for j, name in enumerate(assets)}
    gifts = [_gift(s, place, currency) for s in held]
    split, total = np.empty(close.shape), np.empty(close.shape)
    adjust_kernel(
        _locked(times, np.int64),
        _locked(decision, np.int64),
        _locked(close, np.float64),
        _locked(np.searchsorted([s.asset for s in held], np.arange(len(assets) + 1)), np.int64),
        _locked([s.ex for s in held], np.int64),
        _locked([s.known for s in held], np.int64),
        _locked([s.until for s in held], np.int64),
        _locked([s.ratio if s.type == "split" else 1.0 for s in held], np.float64),
        _locked([gift.cash for gift in gifts], np.float64),
        _locked([gift.units for gift in gifts], np.float64),
        _locked([gift.other for gift in gifts], np.int64),
        _start(len(held), len(assets)),
        split,
        total,
    )
    return _locked(split, np.float64), _locked(total, np.float64)


def adjust_panels(
    rows: pa.Table,
    *,
    name: str,
    keys: Sequence[str],
    adjust: str,
    times: Nanos,
    decision: Nanos,
    assets: Sequence[str],
    panels: Mapping[str, Panel],
    final: Mapping[str, Panel],
    currency: str | None,
) -> Adjusted:
    """Adjust the panels of bars forward; `Store.market` says what the fields of the outcome mean.

    Args:
        rows: of the dataset of actions.
        name: of that dataset.
        keys: of that dataset.
        adjust: one of `ADJUST`.
        times: (n_bars,) int64 ns UTC bar ends.
        decision: (n_bars,) int64 ns UTC.
        assets: column names.
        panels: field -> (n_bars, n_assets) as known.
        final: the last known values; may be `panels` itself.
        currency: of the prices.

    Raises: UnknownNameError for another `adjust`; InputError if a field has the name of one that is made here.
    """
    if adjust not in ADJUST:
        raise unknown_name("way of adjusting", adjust, ADJUST, where="adjust")
    held = statements(rows, assets, keys)
    standing = [s for s in held if s.until == NEVER]
    about: dict[str, Any] = {"times": times, "assets": assets, "currency": currency}
    by_known = forward_factors(held, panels["close"], decision=decision, **about)
    in_the_end = forward_factors(standing, final["close"], decision=np.full(len(times), NEVER - 1), **about)
    seen = _panels(panels, by_known, adjust)
    same = final is panels and all(np.array_equal(a, b) for a, b in zip(by_known, in_the_end, strict=True))
    booked = market_actions(standing, times, final["close"], assets, currency)
    return Adjusted(
        panels=seen,
        final=seen if same else _panels(final, in_the_end, adjust),
        actions=booked,
        notes=(
            *_how(name, adjust),
            *_late(booked, decision, assets),
            *(_lost(booked, standing, assets, currency) if adjust == "total_return" else ()),
        ),
    )


def market_actions(
    standing: Sequence[Statement], times: Nanos, close: Panel, assets: Sequence[str], currency: str | None = None
) -> MarketActions:
    """The actions that take effect on a bar of the market, after the asset's first one with a price."""
    place = {name: j for j, name in enumerate(assets)}
    there = ~np.isnan(close)
    first = np.where(there.any(axis=0), there.argmax(axis=0), len(times))
    last = np.where(there.any(axis=0), len(times) - 1 - there[::-1].argmax(axis=0), -1)
    found: list[dict[str, Any]] = []
    for s in standing:
        row = int(np.searchsorted(times, s.ex, side="right"))
        if first[s.asset] < row < len(times):
            found.append(
                {
                    "row": row,
                    "asset": s.asset,
                    "type": s.type,
                    "ratio": s.ratio,
                    "amount": s.amount,
                    "currency": s.currency,
                    "successor": place.get(s.successor or "", -1),
                    "successor_id": s.successor,
                    "last_row": int(last[s.asset]),
                    "event_time": s.ex,
                    "known_time": s.known,
                    "foreign": int(currency is not None and s.currency is not None and s.currency != currency),
                }
            )
    return MarketActions.of(found)


@dataclass(frozen=True, slots=True)
class _Gift:
    """What one old share receives: cash, and units of the asset in a column; -1 is none."""

    cash: float = 0.0
    units: float = 0.0
    other: int = -1
    lost: str = ""


def _gift(s: Statement, place: Mapping[str, int], currency: str | None) -> _Gift:
    if s.type not in ("dividend", "spinoff"):
        return _Gift()
    if s.amount > 0 and currency is not None and s.currency is not None and s.currency != currency:
        return _Gift(lost=f"paid in {s.currency}")
    if s.amount > 0:
        return _Gift(cash=s.amount)
    if s.type == "spinoff" and s.ratio > 0 and (s.successor or "") in place:
        return _Gift(units=s.ratio, other=place[str(s.successor)])
    return _Gift(lost="without an amount" + (" or a successor in the market" if s.type == "spinoff" else ""))


def _panels(raw: Mapping[str, Panel], factors: tuple[Panel, Panel], adjust: str) -> dict[str, Panel]:
    split, total = factors
    priced = [name for name in raw if name in PRICED or name == "volume"]
    made = {**{f"raw_{name}": raw[name] for name in priced}, "split_factor": split, "return_factor": total}
    for name in made:
        if name in raw:
            raise InputError(f"The bars have a field {name!r}, which a market with actions makes itself; rename it.")
    factor = split if adjust == "split" else total
    if adjust == "none" or bool((factor == 1.0).all()):
        return {**raw, **made}
    adjusted = {name: raw[name] / factor if name == "volume" else raw[name] * factor for name in priced}
    return {**raw, **{name: _locked(values, np.float64) for name, values in adjusted.items()}, **made}


def _how(name: str, adjust: str) -> tuple[str, ...]:
    if adjust == "none":
        return ()
    what = "splits" if adjust == "split" else "splits and distributions"
    note = (
        f"Prices and volumes are adjusted forward for {what} of {name!r} from each asset's first bar "
        f"(adjust={adjust!r}): features see those; orders are in shares at prices as traded, "
        "raw_close and its like, and actions change their number and pay cash."
    )
    return (note,)


def _late(booked: MarketActions, decision: Nanos, assets: Sequence[str]) -> tuple[str, ...]:
    """Say which actions took effect before anybody knew of them."""
    late = np.flatnonzero(booked.known_time > decision[booked.row])
    if late.size == 0:
        return ()
    k = int(late[0])
    behind = int(np.searchsorted(decision, booked.known_time[k])) - int(booked.row[k])
    note = (
        f"{late.size:,} of {len(booked):,} actions became known after they took effect (first: {booked.type[k]} of "
        f"{assets[booked.asset[k]]!r}, {_day(booked.event_time[k])}, {behind:,} bars late): until then the panels "
        "jump, as a live system would have seen; fills use the factors known in the end."
    )
    return (note,)


def _lost(
    booked: MarketActions, standing: Sequence[Statement], assets: Sequence[str], currency: str | None
) -> tuple[str, ...]:
    """Say which distributions no return has in it."""
    place = {item: j for j, item in enumerate(assets)}
    there = set(zip(booked.asset.tolist(), booked.event_time.tolist(), booked.type, strict=True))
    found = [(s, _gift(s, place, currency).lost) for s in standing if (s.asset, s.ex, s.type) in there]
    lost = [(s, why) for s, why in found if why]
    if not lost:
        return ()
    s, why = lost[0]
    note = f"{len(lost):,} distributions are not in the total return (first: {s.type} of {assets[s.asset]!r}, "
    return (f"{note}{_day(s.ex)}, {why}).",)


def _day(ns: Any) -> str:
    return f"{pd.Timestamp(int(ns)):%Y-%m-%d}"


def _spans(history: Sequence[int], retract: Sequence[bool], known: Sequence[int]) -> list[tuple[int, int, int]]:
    """(row, known, until) of each assertion while it stood; a retraction withdraws the latest that stands."""
    spans: list[tuple[int, int, int]] = []
    stack: list[int] = []
    for at, k in enumerate(history):
        if not retract[k]:
            stack.append(k)
        elif stack:
            stack.pop()
        until = known[history[at + 1]] if at + 1 < len(history) else NEVER
        if stack and known[k] < until:
            spans.append((stack[-1], known[k], until))
    return spans


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _start(n_versions: int, n_assets: int) -> AdjustState:
    """The state before the first bar."""
    return AdjustState(
        gain=np.full(n_versions, np.nan),
        booked=np.zeros(n_versions, np.int64),
        owed=np.zeros(n_versions),
        begun=np.full(n_assets, NEVER),
        split=np.ones(n_assets),
        total=np.ones(n_assets),
        next_ex=np.full(n_assets, np.iinfo(np.int64).min),
        next_known=np.full(n_assets, np.iinfo(np.int64).min),
        waiting=np.zeros(n_assets, np.bool_),
    )


def _locked(values: Any, dtype: type) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.ascontiguousarray(values, dtype=dtype).view()  # whose lock is ours to set
    array.flags.writeable = False
    return array
