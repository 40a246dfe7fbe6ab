"""What the ledger reads of a market: fill prices, marks and nights, for the rows of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.backtest.settings import Settings
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.kernels.account import AS_BACKTESTING, AS_VECTORBT, AT_DECISION, AT_FILL, Rules

__all__ = ["Tape", "read_only", "read_tape", "rules_of"]

Panel = npt.NDArray[np.float64]

_BPS = 1e-4
_PRICE_FIELD = {"next_open": "open", "next_close": "close", "close": "close"}
_TYPICAL = ("high", "low", "close")
_typical_cache: dict[str, Panel] = {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tape:
    """Read-only arrays of the rows [start, stop) of a market.

    Attributes:
        start: first row.
        stop: row after the last.
        price: (n_rows, n_assets) reference prices of fills; NaN: no fill.
        close: (n_rows, n_assets) marks.
        days: (n_rows,) calendar days since the row before; 0 on the first.
    """

    start: int
    stop: int
    price: Panel
    close: Panel
    days: Panel


def read_tape(market: Market, settings: Settings, start: int = 0, stop: int | None = None) -> Tape:
    """Cut the tape of a run.

    Raises: InputError for rows outside the market, or a market without the field that `fill` needs.
    """
    stop = market.n_bars if stop is None else stop
    if not 0 <= start < stop <= market.n_bars:
        raise InputError(
            f"`0 <= start < stop <= {market.n_bars}` must hold, but start={start} and stop={stop}: rows of the market."
        )
    days = np.zeros(stop - start)
    if settings.costs.borrow_bps_year > 0.0:
        days[1:] = np.diff(market.days[start:stop].astype("datetime64[D]").astype(np.int64))
    return Tape(
        start=start,
        stop=stop,
        price=_prices(market, settings)[start:stop],
        close=_field(market, "close", settings)[start:stop],
        days=read_only(days),
    )


def rules_of(settings: Settings, *, on_change: bool) -> Rules:
    """The settings as the kernel's numbers."""
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
        fee_rate=costs.fee_bps * _BPS,
        fee_per_share=costs.fee_per_share,
        fee_min=costs.fee_min,
        spread_rate=costs.half_spread_bps * _BPS,
        slippage_rate=costs.slippage_bps * _BPS,
        borrow_rate=costs.borrow_bps_year * _BPS / 365.0,
    )


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A locked view: kernels compile for read-only inputs, once."""
    view = array.view()
    view.flags.writeable = False
    return view


def _prices(market: Market, settings: Settings) -> Panel:
    if settings.fill != "next_vwap":
        return _field(market, _PRICE_FIELD[settings.fill], settings)
    if "vwap" in market.final:
        return _field(market, "vwap", settings)
    typical = _typical_cache.get(market.fingerprint)
    if typical is None:
        high, low, close = (_field(market, name, settings) for name in _TYPICAL)
        typical = read_only((high + low + close) / 3.0)
        _typical_cache.clear()  # the last market's only: a sweep asks for it once a batch
        _typical_cache[market.fingerprint] = typical
    return typical


def _field(market: Market, name: str, settings: Settings) -> Panel:
    if name in market.final:
        return read_only(market.final[name])
    raise InputError(
        f"fill={settings.fill!r} needs the field {name!r}, but the market has {', '.join(market.final)} only.\n"
        f"Give it, as in Market.from_frames(close=..., {name}=...), or choose another fill: "
        "'next_open' needs open; 'next_close' needs close; 'next_vwap' needs vwap, or high, low and close."
    )
