"""What a run trades at: prices as traded, what they are worth in money, and the actions that an account books."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.backtest.settings import Settings
from knowable.data.market import Market
from knowable.kernels import account as codes

__all__ = [
    "carry_closes",
    "carry_forward",
    "in_money",
    "marked",
    "money_of",
    "read_actions",
    "split_between",
    "traded_panel",
    "units_of",
    "what_is_lost",
]

Panel: TypeAlias = npt.NDArray[np.float64]

_SPLIT, _DIVIDEND, _DELISTED, _MERGED = codes.SPLIT, codes.DIVIDEND, codes.DELISTED, codes.MERGED
# On one row: distributions and charges are for what was held before, a split comes after them, an end last.
_ORDER = {
    codes.ROLLED: 0,
    codes.PAID_FUNDING: 1,
    _DIVIDEND: 2,
    codes.SPUN_OFF: 3,
    _SPLIT: 4,
    _MERGED: 5,
    _DELISTED: 6,
}
_cache: dict[str, dict[object, Panel]] = {}  # of the last market only: a sweep asks once a batch


def traded_panel(market: Market, name: str) -> Panel:
    """(n_bars, n_assets) final values of a price or the volume, as traded, in the asset's own units."""
    panel: Panel = market.final[market.traded(name)]
    return panel


def money_of(market: Market, when: str) -> Panel | None:
    """(n_bars or 1, n_assets) money in the base currency for one unit of a price; None where prices are money.

    Args:
        market: with the fields ``fx`` and ``multiplier``, or without.
        when: ``"open"``: at the rate of the bar before, the last one known by then; NaN where there was none; on the
            first row, where nothing is filled, the rate of its own end. ``"close"``: at the rate of the bar's end.
    """
    rate, multiplier = market.final.get("fx"), market.final.get("multiplier")
    if rate is None:
        return None if multiplier is None else multiplier[:1]

    def made() -> Panel:
        known = carry_forward(rate)
        if when == "open":
            known = np.concatenate([known[:1], known[:-1]])
        return known if multiplier is None else known * multiplier[:1]

    return _kept(market, ("money", when), made)


def units_of(market: Market) -> Panel:
    """(n_assets,) money for one unit of a price, in the asset's currency: its multiplier, or 1."""
    multiplier = market.final.get("multiplier")
    units: Panel = np.ones(market.n_assets) if multiplier is None else np.ascontiguousarray(multiplier[0])
    return units


def in_money(market: Market, name: str, when: str) -> Panel:
    """(n_bars, n_assets) a field of prices as traded, in the base currency. `when` as in `money_of`."""
    unit = money_of(market, when)
    panel = traded_panel(market, name)
    return panel if unit is None else _kept(market, (name, when), lambda: panel * unit)


def marked(market: Market) -> Panel:
    """(n_bars, n_assets) what one of each asset counts for at a bar's end, in money; NaN before its first close.

    Where there is `fx` a bar without a close has the last one, at its own rate; else it is NaN, and the ledger knows.
    """
    close = traded_panel(market, "close")
    unit = money_of(market, "close") if "fx" in market.final and np.isnan(close).any() else None
    if unit is None:
        return in_money(market, "close", "close")
    return _kept(market, "marks", lambda: carry_closes(close, market) * unit)


def total_return(market: Market) -> Panel:
    """(n_bars, n_assets) closes with distributions, in the account's currency: what holding an asset brought.

    NaN where a bar has no close; where there is `fx`, before the first and after the last one only.
    """
    close, rate = market.final["close"], market.final.get("fx")
    if rate is None:
        return close
    ended = np.isnan(carry_forward(close[::-1])[::-1])
    return np.where(ended, np.nan, carry_forward(close)) * carry_forward(rate)


def carry_forward(panel: Panel) -> Panel:
    """(n_bars, n_assets) with each NaN replaced by the last value above it, if there is one."""
    rows = np.where(np.isnan(panel), 0, np.arange(len(panel))[:, None])
    return np.take_along_axis(panel, np.maximum.accumulate(rows, axis=0), axis=0)


def carry_closes(panel: Panel, market: Market) -> Panel:
    """`carry_forward` of prices as traded: one that stands through a split is in shares of after it, and one that
    stands through a roll is that of the new contract.
    """
    carried = carry_forward(panel)
    if "roll" in market.final:
        jumps = np.cumsum(np.nan_to_num(market.final["roll"]), axis=0)
        carried = np.where(np.isnan(panel) & (jumps != 0.0), carry_forward(panel - jumps) + jumps, carried)
    if not market.books_actions:
        return carried
    kinds = np.array(market.actions.type)
    for j in np.unique(market.actions.asset[kinds == "split"]).tolist():
        gaps = np.isnan(panel[:, j])
        factor = _split_factor(market, j)
        carried[gaps, j] = (carry_forward(panel[:, j : j + 1] * factor) / factor)[gaps, 0]
    return carried


def _split_factor(market: Market, j: int) -> Panel:
    """(n_bars, 1) shares that one of the first bar has become by splits."""
    factor = np.ones((market.n_bars, 1))
    actions = market.actions
    for k in np.flatnonzero(actions.asset == j).tolist():
        if actions.type[k] == "split" and actions.ratio[k] > 0.0:
            factor[actions.row[k] :] *= actions.ratio[k]
    return factor


def split_between(market: Market, j: int, first: int, last: int) -> float:
    """Shares that one of row `first` has become by splits that were booked before row `last`."""
    if not market.books_actions:
        return 1.0
    factor = _split_factor(market, j)
    return float(factor[last - 1, 0] / factor[first, 0])


def read_actions(market: Market, settings: Settings, start: int, stop: int) -> Panel:
    """(n_actions, N_ACTION_COLUMNS) what the ledger books on rows [start, stop), rows counted from `start`.

    An asset that is delisted or taken over ends on the row after its last price, also where it was said to end before.
    Amounts are in the base currency, at the rate of the bar before.
    """
    fields = any(name in market.final for name in ("funding", "roll"))
    if not market.books_actions and not fields:
        return np.empty((0, codes.N_ACTION_COLUMNS))
    whole = _kept(market, ("actions", settings.delisting_return), lambda: _all_actions(market, settings))
    first, last = np.searchsorted(whole[:, codes.ACTION_ROW], [start, stop])
    rows = whole[first:last].copy()
    rows[:, codes.ACTION_ROW] -= start
    return rows


def _all_actions(market: Market, settings: Settings) -> Panel:
    parts = [_corporate(market, settings), *_of_fields(market)]
    rows = np.concatenate(parts)
    unit = money_of(market, "open")
    if unit is not None:
        at = rows[:, codes.ACTION_ROW].astype(np.int64) if len(unit) > 1 else np.zeros(len(rows), np.int64)
        rows[:, codes.ACTION_AMOUNT] *= unit[at, rows[:, codes.ACTION_ASSET].astype(np.int64)]
    rank = np.array([_ORDER[kind] for kind in rows[:, codes.ACTION_KIND].tolist()])
    order = np.lexsort([rows[:, codes.ACTION_ASSET], rank, rows[:, codes.ACTION_ROW]])
    found: Panel = rows[order]
    return found


def _corporate(market: Market, settings: Settings) -> Panel:
    if not market.books_actions:
        return np.empty((0, codes.N_ACTION_COLUMNS))
    left, rows = 1.0 + settings.delisting_return, []
    for k in range(len(market.actions)):
        row, asset, kind, ratio, amount, other, _ = _read(market, k)
        if math.isnan(kind):
            continue
        if kind in (_MERGED, _DELISTED):
            row = max(row, int(market.actions.last_row[k]) + 1)
            ratio = left if kind == _DELISTED else 1.0 if other < 0 else ratio
        if row < market.n_bars:
            rows.append((row, asset, kind, ratio, amount, other))
    return np.array(rows, dtype=np.float64).reshape(-1, codes.N_ACTION_COLUMNS)


def _read(market: Market, k: int) -> tuple[int, int, float, float, float, int, str]:
    """An action as the ledger's row, its kind NaN where nothing can be booked, and what of it is lost."""
    actions = market.actions
    word, row, asset, other = actions.type[k], int(actions.row[k]), int(actions.asset[k]), int(actions.successor[k])
    ratio, amount = float(actions.ratio[k]), float(actions.amount[k])
    lost, nothing = "", math.nan
    if actions.foreign[k] and not math.isnan(amount):
        amount, lost = math.nan, f"its amount is in {actions.currency[k]}, not in the currency of the prices"
    shares = ratio > 0.0 and other >= 0
    if word == "split":
        return row, asset, _SPLIT if ratio > 0.0 else nothing, ratio, math.nan, -1, lost
    if word == "delisting":
        return row, asset, _DELISTED, math.nan, amount, -1, lost
    if word == "merger":
        if ratio > 0.0 and not shares:
            lost = "the buyer's shares are not in the market; it is closed at its last price"
            amount = math.nan
        return row, asset, _MERGED, ratio, amount, other if shares else -1, lost
    if word == "spinoff" and shares:
        return row, asset, codes.SPUN_OFF, ratio, math.nan, other, ""
    if word in ("dividend", "spinoff") and amount > 0.0:
        return row, asset, _DIVIDEND, math.nan, amount, -1, lost
    if word == "ticker_change":
        return row, asset, nothing, ratio, amount, -1, ""
    why = "it has no amount" + (", and its shares are not in the market" if word == "spinoff" else "")
    return row, asset, nothing, ratio, amount, -1, lost or why


def what_is_lost(market: Market, start: int, stop: int) -> tuple[str, ...]:
    """Sentences about actions on rows [start, stop) that could not be booked as they happened."""
    if not market.books_actions:
        return ()
    found = [(k, _read(market, k)[-1]) for k in range(len(market.actions)) if start < market.actions.row[k] < stop]
    lost = [(k, why) for k, why in found if why]
    if not lost:
        return ()
    kinds = Counter(market.actions.type[k] for k, _ in lost)
    k, why = lost[0]
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    which = f"{market.actions.type[k]} of {market.assets[int(market.actions.asset[k])]!r}"
    return (f"Not booked in full: {listed} (first: {which} at {market.index[int(market.actions.row[k])]}: {why}).",)


def _of_fields(market: Market) -> list[Panel]:
    """Rows of a perpetual's funding and of a future's rolls."""
    parts = []
    for name, kind, place in (
        ("funding", codes.PAID_FUNDING, codes.ACTION_RATIO),
        ("roll", codes.ROLLED, codes.ACTION_AMOUNT),
    ):
        if name in market.final:
            panel = np.nan_to_num(market.final[name], nan=0.0)
            at, asset = np.nonzero(panel)
            part = np.full((len(at), codes.N_ACTION_COLUMNS), math.nan)
            part[:, codes.ACTION_ROW], part[:, codes.ACTION_ASSET] = at, asset
            part[:, codes.ACTION_KIND], part[:, codes.ACTION_OTHER] = kind, -1.0
            part[:, place] = panel[at, asset]
            parts.append(part)
    return parts


def _kept(market: Market, name: object, made: Callable[[], Panel]) -> Panel:
    held = _cache.get(market.fingerprint)
    if held is None:
        _cache.clear()
        held = _cache[market.fingerprint] = {}
    if name not in held:
        panel = np.ascontiguousarray(made())
        panel.flags.writeable = False
        held[name] = panel
    return held[name]
