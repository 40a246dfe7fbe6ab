"""What the ledger reads of a market: fill prices, marks and nights, for the rows of one run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.backtest.costs import terms_of
from knowable.backtest.settings import Settings
from knowable.backtest.traded import (
    abroad_of,
    carry_closes,
    fill_prices,
    in_money,
    in_own_currency,
    marked,
    money_of,
    moves_quotes,
    read_actions,
    traded_panel,
    units_of,
)
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.kernels.account import (
    ABROAD_RATE,
    AS_BACKTESTING,
    AS_VECTORBT,
    AT_DECISION,
    AT_FILL,
    N_BOOK_COLUMNS,
    Feed,
    LedgerState,
    Rules,
    new_state,
)
from knowable.kernels.book import book_room
from knowable.kernels.exits import HIGH_FIRST, LOW_FIRST, STOP_FIRST

__all__ = ["Tape", "by_volume", "last_before", "marks_before", "read_only", "read_tape", "rest_of", "rules_of"]

Panel = npt.NDArray[np.float64]

PRICES_WITHIN = ("open", "high", "low")
_typical_cache: dict[str, Panel] = {}
_known_cache: dict[str, tuple[Panel | None]] = {}

_INTRABAR = {"pessimistic": STOP_FIRST, "ohlc": HIGH_FIRST, "olhc": LOW_FIRST}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tape:
    """Read-only arrays of the rows [start, stop) of a market.

    Attributes:
        start: first row.
        stop: row after the last.
        feed: what the kernels read, row 0 being `start`. Its `known` is (0, n_assets) where the marks tell it: no
            close was revised or late, or sizes wait for the fill.
        marks: (n_assets,) last close before the first row; 0 where none.
        unfunded: (n_assets,) 1 for futures and perpetuals, which are not paid for; else 0.
    """

    start: int
    stop: int
    feed: Feed
    marks: Panel
    unfunded: Panel

    @property
    def futures(self) -> bool:
        """Whether any asset is not paid for."""
        return bool(self.unfunded.any())

    def new_state(self, cash: float) -> LedgerState:
        """An account that begins on the first row with nothing but cash."""
        made: LedgerState = new_state(self.marks, self.unfunded, cash)
        if len(self.feed.new_day):
            made = made._replace(book=np.zeros((2 * int(book_room(len(self.marks))), N_BOOK_COLUMNS)))
        return made


def rest_of(feed: Feed, done: int) -> Feed:
    """The same without its first `done` rows."""
    if done == 0:
        return feed
    return Feed(
        price=feed.price[done:],
        close=feed.close[done:],
        known=feed.known[done:],
        days=feed.days[done:],
        volume=feed.volume[done:],
        terms=feed.terms[done:] if len(feed.terms) > 1 else feed.terms,
        actions=feed.actions,
        open=feed.open[done:],
        high=feed.high[done:],
        low=feed.low[done:],
        new_day=feed.new_day[done:],
        abroad=feed.abroad[done:],
    )


def read_tape(
    market: Market,
    settings: Settings,
    start: int = 0,
    stop: int | None = None,
    *,
    event_driven: bool = False,
    guarded: bool = False,
) -> Tape:
    """Cut the tape of a run.

    Args:
        market: prices.
        settings: which of them fills use.
        start: first row.
        stop: row after the last; all when None.
        event_driven: somebody reads the account at each decision, and may place orders that rest: give `known` also
            where sizes wait for the fill, and where the market has them the prices within bars.
        guarded: positions may have levels: give what they are met by in the assets' own currencies.

    Raises: InputError for rows outside the market, or a market without the field that `fill` needs.
    """
    stop = market.n_bars if stop is None else stop
    if not 0 <= start < stop <= market.n_bars:
        raise InputError(
            f"`0 <= start < stop <= {market.n_bars}` must hold, but start={start} and stop={stop}: rows of the market."
        )
    days = np.zeros(0)
    if settings.costs.borrow_bps_year or settings.costs.cash_rate or settings.costs.margin_rate:
        days = np.diff(market.days[start:stop].astype("datetime64[D]").astype(np.float64), prepend=np.nan)
        days[0] = 0.0
    close, price = read_only(marked(market)), _prices(market, settings)
    abroad = abroad_of(market, settings.fill) if event_driven or guarded else None
    known = _known_closes(market) if event_driven or settings.size_at == "decision" else None
    none = read_only(np.empty((0, market.n_assets)))
    feed = Feed(
        price=price[start:stop],
        close=close[start:stop],
        known=none if known is None else known[start:stop],
        days=read_only(days),
        volume=_volume(market, settings)[start:stop] if by_volume(settings) else none,
        terms=terms_of(settings.costs, market, start, stop),
        actions=read_only(read_actions(market, settings, start, stop)),
        **(_within_bars(market, settings, abroad, start, stop) if event_driven else {}),
        **({} if abroad is None else {"abroad": read_only(abroad)[start:stop]}),
    )
    unfunded = 1.0 - market.final["funded"][0] if "funded" in market.final else np.zeros(market.n_assets)
    marks = read_only(marks_before(market, start))
    return Tape(start=start, stop=stop, feed=feed, marks=marks, unfunded=read_only(unfunded))


def _within_bars(
    market: Market, settings: Settings, abroad: Panel | None, start: int, stop: int
) -> dict[str, npt.NDArray[Any]]:
    """What orders that rest are met by; nothing where none may."""
    if settings.preset is not None or any(name not in market.final for name in PRICES_WITHIN):
        return {}
    found: dict[str, npt.NDArray[Any]] = {
        name: read_only(in_own_currency(market, name))[start:stop] for name in PRICES_WITHIN
    }
    if abroad is not None:  # nothing is filled before the first rate
        unknown = np.isnan(abroad[start:stop, ABROAD_RATE])
        found["open"] = read_only(np.where(unknown, np.nan, found["open"]))
    days = market.days[max(start - 1, 0) : stop]
    new_day = np.ones(len(days), np.bool_)
    new_day[1:] = days[1:] != days[:-1]
    return {**found, "new_day": read_only(new_day[-(stop - start) :])}


def by_volume(settings: Settings) -> bool:
    """Whether fills hang on the volume of their bar."""
    return settings.volume_limit is not None or bool(settings.costs.impact)


def rules_of(settings: Settings, *, on_change: bool, futures: bool = False) -> Rules:
    """The settings as the kernel's numbers; `futures`: whether any asset is not paid for, as `Tape.futures`."""
    costs = settings.costs
    sizing = AT_DECISION if settings.size_at == "decision" else AT_FILL
    if settings.preset is not None:
        sizing = AS_VECTORBT if settings.preset == "vectorbt" else AS_BACKTESTING
    return Rules(
        delay=0 if settings.fill == "close" else 1,
        sizing=sizing,
        lot=settings.lot or 0.0,
        max_leverage=settings.max_leverage,
        scale=settings.leverage_check == "scale",
        on_change=on_change,
        borrows=bool(costs.borrow_bps_year),
        earns=bool(costs.cash_rate or costs.margin_rate),
        maintenance=settings.maintenance_margin,
        volume_limit=math.inf if settings.volume_limit is None else settings.volume_limit,
        futures=futures,
        intrabar=_INTRABAR[settings.intrabar],
        at_open=settings.fill == "next_open",
        entry_bar=settings.exit_on_entry_bar,
    )


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A locked view: kernels compile for read-only inputs, once."""
    view = array.view()
    view.flags.writeable = False
    return view


def _known_closes(market: Market) -> Panel | None:
    """Closes as known at each decision, in money, carried forward; None where they are the final ones."""
    final = traded_panel(market, "close")
    known = market.decision_close()
    if known is final or (known.ctypes.data == final.ctypes.data and known.strides == final.strides):
        return None
    key = market.fingerprint
    found = _known_cache.get(key)
    if found is None:
        same = np.array_equal(known, final, equal_nan=True)
        found = (None if same else read_only(_carried(known, market)),)
        _known_cache.clear()  # the last market's only: a sweep asks for it once a batch
        _known_cache[key] = found
    return found[0]


def _carried(known: Panel, market: Market) -> Panel:
    carried = carry_closes(known, market)
    unit = money_of(market, "close")
    return carried if unit is None else carried * unit


def marks_before(market: Market, start: int) -> Panel:
    """(n_assets,) last close before a row, in money, for assets that have none on it; 0 where there is none or no need.

    It has followed splits and rolls since. With `fx` there is no need: see `marked`.
    """
    marks = last_before(marked(market), start)
    if not marks.any() or not moves_quotes(market):
        return marks
    standing = carry_closes(traded_panel(market, "close")[:start], market)[-1]
    return np.where(marks != 0.0, standing * units_of(market), 0.0)


def last_before(close: Panel, start: int) -> Panel:
    """(n_assets,) last of a panel's values before a row, for assets that have none on it; 0 where none or no need."""
    found = np.zeros(close.shape[1])
    gaps = np.flatnonzero(np.isnan(close[start]))
    if start == 0 or len(gaps) == 0:
        return found
    seen = ~np.isnan(close[:start, gaps])
    last = start - 1 - np.argmax(seen[::-1], axis=0)
    found[gaps] = np.where(seen.any(axis=0), close[last, gaps], 0.0)
    return found


def _prices(market: Market, settings: Settings) -> Panel:
    when = "open" if settings.fill == "next_open" else "close"

    def made() -> Panel:
        return read_only(fill_prices(market, settings.fill, lambda name: _field(market, name, settings, when)))

    if settings.fill != "next_vwap" or market.traded("vwap") in market.final:
        return made()
    typical = _typical_cache.get(market.fingerprint)
    if typical is None:
        typical = made()
        _typical_cache.clear()  # the last market's only: a sweep asks for it once a batch
        _typical_cache[market.fingerprint] = typical
    return typical


def _volume(market: Market, settings: Settings) -> Panel:
    if "volume" in market.final:
        return read_only(traded_panel(market, "volume"))
    what = "impact" if settings.volume_limit is None else "volume_limit"
    raise InputError(
        f"`{what}` needs the volume of each bar, but the market has {', '.join(market.final)} only.\n"
        f"Give it, as in Market.from_frames(close=..., volume=...), or leave {what} out."
    )


def _field(market: Market, name: str, settings: Settings, when: str) -> Panel:
    if name in market.final:
        return read_only(in_money(market, name, when))
    raise InputError(
        f"fill={settings.fill!r} needs the field {name!r}, but the market has {', '.join(market.final)} only.\n"
        f"Give it, as in Market.from_frames(close=..., {name}=...), or choose another fill: "
        "'next_open' needs open; 'next_close' needs close; 'next_vwap' needs vwap, or high, low and close."
    )
