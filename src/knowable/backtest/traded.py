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
    "abroad_of",
    "bar_as_quoted",
    "carry_closes",
    "carry_forward",
    "fill_prices",
    "in_money",
    "in_own_currency",
    "marked",
    "money_of",
    "moves_quotes",
    "read_actions",
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
    multiplier = market.final.get("multiplier")
    if "fx" not in market.final:
        return None if multiplier is None else multiplier[:1]

    def made() -> Panel:
        known = _rates(market, when)
        return known if multiplier is None else known * multiplier[:1]

    return _kept(market, ("money", when), made)


def _rates(market: Market, when: str) -> Panel:
    """(n_bars, n_assets) money for one unit of an asset's own currency. `when` as in `money_of`."""
    known = carry_forward(market.final["fx"])
    return np.concatenate([known[:1], known[:-1]]) if when == "open" else known


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


def in_own_currency(market: Market, name: str) -> Panel:
    """(n_bars, n_assets) a field of prices as traded, times the multiplier: what levels are met by."""
    if "fx" not in market.final:
        return in_money(market, name, "open")
    return _by_multiplier(market, traded_panel(market, name))


def _by_multiplier(market: Market, panel: Panel) -> Panel:
    multiplier = market.final.get("multiplier")
    return panel if multiplier is None else panel * multiplier[:1]


def abroad_of(market: Market, fill: str) -> Panel | None:
    """(n_bars, N_ABROAD, n_assets) rates and prices in the assets' own currencies; None where there is but one.

    Args:
        market: with the field ``fx``, or without.
        fill: of the settings. Its rate is that of all fills of a bar, at a level or not.
    """
    if "fx" not in market.final:
        return None

    def made() -> Panel:
        panels = np.empty((market.n_bars, codes.N_ABROAD, market.n_assets))
        panels[:, codes.ABROAD_RATE] = _rates(market, "open" if fill == "next_open" else "close")
        panels[:, codes.ABROAD_CLOSE] = in_own_currency(market, "close")
        panels[:, codes.ABROAD_KNOWN] = _by_multiplier(market, carry_closes(market.decision_close(), market))
        panels[:, codes.ABROAD_FILL] = fill_prices(market, fill, lambda name: in_own_currency(market, name))
        return panels

    return _kept(market, ("abroad", fill), made)


def fill_prices(market: Market, fill: str, field: Callable[[str], Panel]) -> Panel:
    """(n_bars, n_assets) the prices at which orders fill: of one field, or the mean of high, low and close.

    Args:
        market: says which fields there are.
        fill: of the settings.
        field: gives the prices of a name.
    """
    if fill != "next_vwap":
        return field("open" if fill == "next_open" else "close")
    if market.traded("vwap") in market.final:
        return field("vwap")
    high, low, close = (field(name) for name in ("high", "low", "close"))
    return (high + low + close) / 3.0


def marked(market: Market) -> Panel:
    """(n_bars, n_assets) what one of each asset counts for at a bar's end, in money; NaN before its first close.

    Where there is `fx` a bar without a close has the last one, at its own rate; else it is NaN, and the ledger knows.
    """
    close = traded_panel(market, "close")
    unit = money_of(market, "close") if "fx" in market.final and np.isnan(close).any() else None
    if unit is None:
        return in_money(market, "close", "close")
    return _kept(market, "marks", lambda: carry_closes(close, market) * unit)


def bar_as_quoted(market: Market) -> tuple[Panel, Panel, Panel, Panel]:
    """Open, high, low and close of each bar, (n_bars, n_assets) in the assets' own currencies: what levels are met by.

    A bar has been at its open and at its close: a high or low that is missing is the further one of these.
    """
    first, high, low, last = (in_own_currency(market, name) for name in ("open", "high", "low", "close"))
    if np.isnan(high.max()) or np.isnan(low.max()):  # NaN if any is; to ask each takes thrice as long
        high = _kept(market, "top", lambda: np.fmax(np.fmax(first, last), high))
        low = _kept(market, "bottom", lambda: np.fmin(np.fmin(first, last), low))
    return first, high, low, last


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
    """`carry_forward` of prices as traded: one that stands through a roll is that of the new contract, and one that
    stands through a split is in shares of after it. On one bar the roll comes first, as the ledger books it.
    """
    carried = carry_forward(panel)
    for row, j, jump, ratio in _moves_of_quotes(market):
        if row < len(panel) and math.isnan(panel[row, j]):
            gap = np.isnan(panel[row:, j])
            until = len(panel) if gap.all() else row + int(np.argmin(gap))
            carried[row:until, j] = (carried[row, j] + jump) / ratio
    return carried


def moves_quotes(market: Market) -> bool:
    """Whether a price that stands may be another one later: there are rolls or actions."""
    return market.books_actions or "roll" in market.final


def _moves_of_quotes(market: Market) -> list[tuple[int, int, float, float]]:
    """(row, column, what is added to the price before, what that is divided by), in the order of the ledger."""
    moves = []
    if "roll" in market.final:
        jumps = np.nan_to_num(market.final["roll"])
        moves = [(row, j, float(jumps[row, j]), 1.0) for row, j in np.argwhere(jumps != 0.0).tolist()]
    actions = market.actions
    if market.books_actions:
        splits = [k for k in range(len(actions)) if actions.type[k] == "split" and actions.ratio[k] > 0.0]
        moves += [(int(actions.row[k]), int(actions.asset[k]), 0.0, float(actions.ratio[k])) for k in splits]
    return sorted(moves, key=lambda move: move[0])  # a stable order: of one row rolls are first


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
        assets = rows[:, codes.ACTION_ASSET].astype(np.int64)
        rolled = (rows[:, codes.ACTION_KIND] == codes.ROLLED) & ("fx" in market.final)
        shift = rows[:, codes.ACTION_AMOUNT] * units_of(market)[assets]
        rows[rolled, codes.ACTION_RATIO] = shift[rolled]
        rows[:, codes.ACTION_AMOUNT] *= unit[at, assets]
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
