"""What a simulated account is: its cash, its fills, its limits."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

from knowable.backtest.costs import Costs
from knowable.errors import InputError, shown, unknown_name

__all__ = ["Fill", "Intrabar", "LeverageCheck", "Preset", "Settings", "SizeAt"]

Fill = Literal["next_open", "next_close", "next_vwap", "close"]
SizeAt = Literal["decision", "fill"]
LeverageCheck = Literal["strict", "scale"]
Preset = Literal["vectorbt", "backtesting"]
Intrabar = Literal["pessimistic", "ohlc", "olhc"]

# What each preset sets, and the costs that its engine knows.
_PRESETS: dict[str, dict[str, Any]] = {
    "vectorbt": {"fill": "close", "size_at": "fill"},
    "backtesting": {"fill": "next_open", "size_at": "fill", "lot": 1.0},
}
_PRESET_COSTS = {
    "vectorbt": ("fee_bps", "half_spread_bps", "slippage_bps"),
    "backtesting": ("fee_bps", "half_spread_bps"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A simulated account.

    Attributes:
        cash: money at the start, in the market's currency.
        fill: a decision on bar t fills at bar t + 1: at its open, its close, or its vwap (the typical price
            (high + low + close) / 3 where the market has no vwap); ``"close"`` fills at the decision's own close, which
            is optimistic, and the result says so.
        size_at: share counts from prices and equity at the ``"decision"``, or from those at the ``"fill"``.
        costs: see `Costs`.
        lot: shares are multiples of this, rounded toward zero; None for fractions.
        max_leverage: largest sum of absolute weights. A weight of NaN keeps a position, so the last weight stated for
            that asset counts in its place. Above 1, cash may be borrowed up to (max_leverage - 1) x equity.
        leverage_check: ``"strict"``: a larger sum is an error; ``"scale"``: the weights the row states are scaled down
            so that they fit beside those that NaN keeps.
        intrabar: how a bar is taken to have gone where both a stop and a target lie within it: ``"pessimistic"``: to
            the stop first; ``"ohlc"``: open, high, low, close; ``"olhc"``: open, low, high, close.
        exit_on_entry_bar: whether a position entered at a bar's open may be closed by its stop or target within it.
        volume_limit: largest share of a bar's volume that fills of an asset may be, such as 0.1; the rest of an order
            waits for the next bar. None: any. Where a bar has no volume nothing is filled.
        maintenance_margin: share of the positions' absolute value that equity must stay above, such as 0.25; at or
            below it all is closed at the next fill, and no more is traded. 0: once nothing is left.
        delisting_return: what is left of the last close, less 1, where a market's actions say that an asset was
            delisted and not for what: -0.3 books it at 70 % (what delistings for performance lost on average in
            Shumway, "The Delisting Bias in CRSP Data", 1997). 0: at the last close.
        preset: ``"vectorbt"`` or ``"backtesting"``: set fill, size_at and, where none is given, lot to that engine's,
            and follow its arithmetic (docs/decisions/parity.md).

    Raises:
        InputError: a value out of range, or one that contradicts the preset.
        UnknownNameError: a word that is none of the choices.
    """

    cash: float = 1_000_000.0
    fill: Fill = "next_open"
    size_at: SizeAt = "decision"
    costs: Costs = field(default_factory=Costs)
    lot: float | None = None
    max_leverage: float = 1.0
    leverage_check: LeverageCheck = "strict"
    intrabar: Intrabar = "pessimistic"
    exit_on_entry_bar: bool = True
    volume_limit: float | None = None
    maintenance_margin: float = 0.0
    delisting_return: float = 0.0
    preset: Preset | None = None

    def __post_init__(self) -> None:
        for name, choices in (
            ("fill", Fill),
            ("size_at", SizeAt),
            ("leverage_check", LeverageCheck),
            ("intrabar", Intrabar),
        ):
            _one_of(name, getattr(self, name), get_args(choices))
        for name in ("cash", "max_leverage", "lot", "volume_limit"):
            value = getattr(self, name)
            if name in ("lot", "volume_limit") and value is None:
                continue
            number = _number(name, value, "Settings")
            if number <= 0.0:
                raise InputError(f"`{name} > 0` must hold, but {name}={number:g}, in Settings.")
            object.__setattr__(self, name, number)
        if self.volume_limit is not None and self.volume_limit > 1.0:
            raise InputError(
                f"`volume_limit <= 1` must hold, but volume_limit={self.volume_limit:g}, in Settings: it is a share of "
                "the bar's volume, 0.1 for ten per cent."
            )
        margin = _number("maintenance_margin", self.maintenance_margin, "Settings")
        if not 0.0 <= margin < 1.0:
            raise InputError(
                f"`0 <= maintenance_margin < 1` must hold, but maintenance_margin={margin:g}, in Settings."
            )
        object.__setattr__(self, "maintenance_margin", margin)
        left = _number("delisting_return", self.delisting_return, "Settings")
        if left < -1.0:
            raise InputError(f"`delisting_return >= -1` must hold, but delisting_return={left:g}, in Settings.")
        object.__setattr__(self, "delisting_return", left)
        if not isinstance(self.exit_on_entry_bar, bool):
            raise InputError(
                f"`exit_on_entry_bar` must be True or False, but it is {shown(self.exit_on_entry_bar)}, in Settings."
            )
        if not isinstance(self.costs, Costs):
            raise InputError(f"`costs` must be Costs(...), such as Costs(fee_bps=10), but costs={shown(self.costs)}.")
        if self.preset is not None:
            _one_of("preset", self.preset, get_args(Preset))
            self._apply_preset()

    def _apply_preset(self) -> None:
        usual = {entry.name: entry.default for entry in fields(Settings)}
        for name, value in _PRESETS[str(self.preset)].items():
            given = getattr(self, name)
            if name == "lot" and given is not None:
                continue
            if given not in (usual[name], value):
                raise InputError(
                    f"preset={self.preset!r} needs {name}={value!r}, but {name}={given!r}; leave one of them out."
                )
            object.__setattr__(self, name, value)
        if self.max_leverage != 1.0:
            raise InputError(f"preset={self.preset!r} has no leverage, but max_leverage={self.max_leverage:g}.")
        for name in ("volume_limit", "maintenance_margin"):
            if getattr(self, name):
                raise InputError(f"preset={self.preset!r} has no {name}, but {name}={getattr(self, name):g}.")
        known = _PRESET_COSTS[str(self.preset)]
        for entry in fields(Costs):
            value = getattr(self.costs, entry.name)
            if value and (entry.name not in known or not isinstance(value, float)):
                raise InputError(
                    f"preset={self.preset!r} knows the costs {', '.join(known)} only, one number each, "
                    f"but {entry.name}={value!r}."
                )

    def with_preset(self, preset: Preset | None) -> Self:
        """The same account under another engine's semantics. Raises as the class."""
        return replace(self, preset=preset)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` wrote, also after a trip through JSON."""
        return cls(**{**values, "costs": Costs.from_plain(values["costs"])})


def _number(name: str, value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(float(value)):
        raise InputError(f"`{name}` must be a finite number, but {name}={shown(value)}, in {where}.")
    return float(value)


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise unknown_name(name, value, choices, where="Settings")
