"""`Market`: the panels a backtest runs on, as they were known, with their clock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.calendars import Days, Nanos, calendar, index_bars_per_year
from knowable.data.clock import Clock, days_of
from knowable.data.frames import Panel, check_universe, frames_to_panels
from knowable.data.market_actions import MarketActions
from knowable.data.money import check_money, checked_currencies, on_all_bars, rates_of
from knowable.errors import InputError, StoreError, UnknownAttributeError, shown, unknown_name

__all__ = ["UNIVERSE", "Market", "members_of"]

UNIVERSE = "universe"  # the field that says which assets are members on each bar

_FORMAT = 1
_NO_ACTIONS = MarketActions.of()
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Market:
    """Panels of shape (n_bars, n_assets), the clock of their rows, and where they came from.

    Attributes:
        times: (n_bars,) int64 ns UTC, the end of each bar, strictly increasing.
        decision_times: (n_bars,) int64 ns UTC; a decision on bar t sees what was known by decision_times[t].
        index: (n_bars,) labels for people: those the user gave, or UTC times from a store.
        assets: names of the columns.
        panels: field -> (n_bars, n_assets) float64 as known at each row's own decision time. NaN: not known.
        final: field -> the last known values; fills and marks use these. Equal to `panels` where nothing was revised.
        calendar: exchange code, ``"24/7"``, or None where the rows are the clock.
        bars_per_year: bars in a year of that calendar, for annualising.
        pins: what reproduces it: one mapping of dataset, version and as_of for each source.
        notes: sentences the result must carry, such as how many bars were not known in time.
        actions: the corporate actions that take effect on its bars, as known in the end; empty where none were asked.
        adjust: how prices are adjusted for them: ``"total_return"``, ``"split"`` or ``"none"``.
        recipe: arguments of the `Store.market` that made it, but for span and version; empty for one made otherwise.

    A field reads as an attribute: ``market.close`` is a feature, ``market.close.frame()`` its DataFrame.

    A field called ``universe`` has a meaning: 1 where the asset is a member on that bar, known at its decision, and 0
    elsewhere. Cross-sections of features then see members only, and the target weight of a non-member is 0, whatever a
    strategy says. Fields called ``fx``, ``multiplier``, ``funded``, ``funding`` and ``roll`` have one too
    (`knowable.data.money`, docs/money.md): they say what a price is worth in money.
    """

    times: Nanos
    decision_times: Nanos
    index: pd.DatetimeIndex
    assets: tuple[str, ...]
    panels: Mapping[str, Panel]
    final: Mapping[str, Panel]
    calendar: str | None = None
    bars_per_year: float
    pins: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    actions: MarketActions = _NO_ACTIONS
    adjust: str = "none"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    _hash: list[str] = field(default_factory=list)
    _days: list[tuple[Nanos, Days]] = field(default_factory=list)

    _field_factory: ClassVar[list[Callable[[Any, str], Any]]] = []

    @classmethod
    def from_frames(
        cls,
        *,
        close: pd.DataFrame | pd.Series,
        open: pd.DataFrame | pd.Series | None = None,  # noqa: A002 - the field's own name
        high: pd.DataFrame | pd.Series | None = None,
        low: pd.DataFrame | pd.Series | None = None,
        volume: pd.DataFrame | pd.Series | None = None,
        calendar: str | None = None,
        missing: Literal["refuse", "allow"] = "refuse",
        **fields: pd.DataFrame | pd.Series | Mapping[str, float] | float,
    ) -> Self:
        """Build a market from DataFrames, a row a bar and a column an asset; no store needed.

        Args:
            close: (n_bars, n_assets) prices; its DatetimeIndex and columns rule. NaN before an asset's first price and
                after its last: not traded yet, or no longer.
            open: like `close`; needed by ``fill="next_open"``.
            high: like `close`.
            low: like `close`.
            volume: like `close`, in shares.
            calendar: exchange code or ``"24/7"``. Dates without a time are then labelled by their session's close.
                None: the rows are the clock, and bars a year are measured from them.
            missing: ``"allow"`` takes NaN prices inside an asset's history as bars without a price: orders wait for
                the next one. Refused by default, because most such gaps are accidents.
            fields: further panels of the same shape, under their own names; NaN: not known. ``universe`` holds True or
                1 where an asset may be held on that bar, else False or 0, and has the meaning said above.
                ``multiplier`` and ``funded`` may be a number, or one for each asset.

        Raises:
            DataError: index unsorted, duplicate, of mixed time zones, or no session of the calendar; prices NaN inside
                an asset's history (see `missing`), infinite or not positive; high below low; open or close outside
                [low, high]; negative volume; a column of only NaN; a universe of other values than 0 and 1.
            ShapeError: frames whose index or columns differ.
        """
        for name in fields:
            if hasattr(cls, name) or not name.isidentifier():
                raise InputError(f"A field cannot be called {name!r}, because a market has that attribute; rename it.")
        more = on_all_bars(fields, close)
        given = {"close": close, "open": open, "high": high, "low": low, "volume": volume, **more}
        index, assets, panels = frames_to_panels(
            {name: frame for name, frame in given.items() if frame is not None}, allow_missing=_allows(missing)
        )
        check_money(panels, index, assets)
        times = _times(index, calendar)
        members = panels.pop(UNIVERSE, None)
        held = MappingProxyType(panels)
        made = cls(
            times=times,
            decision_times=times,
            index=index,
            assets=assets,
            panels=held,
            final=held,
            calendar=calendar,
            bars_per_year=_bars_per_year(times, calendar),
        )
        return made if members is None else made.with_universe(members, "the panel given")

    @classmethod
    def build(
        cls,
        *,
        times: Nanos,
        decision_times: Nanos | None = None,
        assets: tuple[str, ...],
        panels: Mapping[str, npt.NDArray[np.float64]],
        final: Mapping[str, npt.NDArray[np.float64]] | None = None,
        calendar: str | None = None,
        pins: tuple[Mapping[str, str], ...] = (),
        notes: tuple[str, ...] = (),
        actions: MarketActions = _NO_ACTIONS,
        adjust: str = "none",
    ) -> Self:
        """Build a market from arrays that are already checked; labels are the bar ends in UTC.

        Args:
            times: (n_bars,) int64 ns UTC bar ends, strictly increasing.
            decision_times: like `times`; the bar ends themselves when None.
            assets: column names.
            panels: field -> (n_bars, n_assets) float64 as known.
            final: field -> the last known values; `panels` when None.
            calendar: exchange code, ``"24/7"`` or None.
            pins: dataset, version and as_of of each source.
            notes: sentences the result must carry.
            actions: corporate actions on its bars.
            adjust: how `panels` and `final` are adjusted for them; with the field ``raw_close``, and
                ``return_factor`` or ``split_factor``, unless ``"none"``.
        """
        times = _lock(np.ascontiguousarray(times, dtype=np.int64))
        shape = (len(times), len(assets))
        index = pd.DatetimeIndex(times.view("datetime64[ns]")).tz_localize("UTC")
        locked = MappingProxyType({name: _panel(name, values, shape) for name, values in panels.items()})
        last = locked if final is None else MappingProxyType({k: _panel(k, v, shape) for k, v in final.items()})
        if UNIVERSE in locked:
            check_universe(locked[UNIVERSE], index, assets)
        check_money(last, index, assets)
        return cls(
            times=times,
            decision_times=times if decision_times is None else _lock(np.ascontiguousarray(decision_times, np.int64)),
            index=index,
            assets=tuple(assets),
            panels=locked,
            final=last,
            calendar=calendar,
            bars_per_year=_bars_per_year(times, calendar),
            pins=pins,
            notes=notes,
            actions=actions,
            adjust=adjust,
        )

    @property
    def n_bars(self) -> int:
        """Number of rows."""
        return len(self.times)

    @property
    def n_assets(self) -> int:
        """Number of columns."""
        return len(self.assets)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_bars, n_assets)."""
        return self.n_bars, self.n_assets

    @property
    def days(self) -> Days:
        """(n_bars,) datetime64[D], the session each bar belongs to."""
        if not self._days or self._days[-1][0] is not self.times:  # 10 ms for 1,000,000 bars, at every backtest
            self._days[:] = [(self.times, _lock(days_of(self.calendar, self.index, self.times)))]
        return self._days[-1][1]

    @property
    def clock(self) -> Clock:
        """How its times are read: the day of each bar, and the periods that bars end."""
        naive = self.index.tz_localize(None).as_unit("ns").asi8
        dated = self.calendar is not None and bool((naive % _DAY_NS == 0).all())
        return Clock(self.calendar, self.index.tz, dated)

    @property
    def fingerprint(self) -> str:
        """Hash of all that a result can depend on: clock, assets and every panel's bits."""
        if not self._hash:
            self._hash.append(_fingerprint(self))
        return self._hash[0]

    def panel(self, name: str) -> Panel:
        """The (n_bars, n_assets) panel of a field, as known. Raises: UnknownNameError, offering the nearest field."""
        if name not in self.panels:
            raise unknown_name("field", name, self.panels, where="the market")
        return self.panels[name]

    def final_panel(self, name: str) -> Panel:
        """The last known values of a field; what fills and marks use. Raises: UnknownNameError."""
        if name not in self.final:
            raise unknown_name("field", name, self.final, where="the market")
        return self.final[name]

    @property
    def books_actions(self) -> bool:
        """Whether an account on it holds shares as traded, so that actions change their number and pay cash."""
        return len(self.actions) > 0 and ("raw_close" in self.final or self.adjust == "none")

    def traded(self, name: str) -> str:
        """The field that holds a price or the volume as traded: itself, or ``raw_`` before it where it is adjusted."""
        return f"raw_{name}" if self.books_actions and f"raw_{name}" in self.final else name

    def decision_close(self) -> Panel:
        """Closes as known at each decision and as traded: what shares are counted with at the decision."""
        name = self.traded("close")
        return self.panels.get(name, self.final[name])

    def until(self, n_bars: int) -> Self:
        """The market cut to its first `n_bars` rows: what a reader of that time could have held."""
        if not 0 < n_bars <= self.n_bars:
            raise InputError(f"`1 <= n_bars <= {self.n_bars}` must hold, but n_bars={n_bars}, in Market.until.")
        if n_bars == self.n_bars:
            return self
        panels = MappingProxyType({name: values[:n_bars] for name, values in self.panels.items()})
        final = {name: values[:n_bars] for name, values in self.final.items()}
        return replace(
            self,
            times=self.times[:n_bars],
            decision_times=self.decision_times[:n_bars],
            index=self.index[:n_bars],
            panels=panels,
            final=panels if self.final is self.panels else MappingProxyType(final),
            actions=self.actions.until(n_bars),
            _hash=[],
            _days=[],
        )

    def with_panels(self, panels: Mapping[str, Panel], final: Mapping[str, Panel] | None = None) -> Self:
        """The same clock and assets with other values.

        Args:
            panels: field -> (n_bars, n_assets) float64; all fields of the new market.
            final: last known values; `panels` when None.
        """
        held = self._proxy(panels)
        return replace(self, panels=held, final=held if final is None else self._proxy(final), recipe={}, _hash=[])

    def with_universe(self, members: npt.NDArray[Any], name: str, pins: tuple[Mapping[str, str], ...] = ()) -> Self:
        """The same market whose assets are members on some bars only; a universe it has already is replaced.

        Args:
            members: (n_bars, n_assets) bool, or 1.0 and 0.0; row t known at decision_times[t].
            name: what to call the universe in the note.
            pins: dataset, version and as_of of what it came from.

        Raises: DataError on other values than 0 and 1.
        """
        panel = _panel(UNIVERSE, np.asarray(members, dtype=np.float64), self.shape)
        check_universe(panel, self.index, self.assets)
        panels = MappingProxyType({**self.panels, UNIVERSE: panel})
        same = self.final is self.panels
        mean = float(panel.sum(axis=1).mean()) if self.n_bars else 0.0
        return replace(
            self,
            panels=panels,
            final=panels if same else MappingProxyType({**self.final, UNIVERSE: panel}),
            pins=(*self.pins, *pins),
            notes=(
                *(note for note in self.notes if not note.startswith("Universe: ")),
                f"Universe: {name}; on average {mean:,.1f} of {self.n_assets:,} assets are members.",
            ),
            recipe={},
            _hash=[],
        )

    def with_currencies(self, currencies: Mapping[str, str], *, rates: pd.DataFrame, base: str) -> Self:
        """The same market for an account in `base`: prices stay quotes, and the field ``fx`` says what they are worth.

        Args:
            currencies: asset -> currency of its prices; assets that are not named have prices in `base`.
            rates: (n_bars, n_currencies) on the market's own index, units of `base` for one unit of the column's
                currency at each bar's end, such as 1.08 dollars for one of ``"EUR"``.
            base: currency of the account, of its cash and of `Result.equity`.

        Amounts of actions that name a currency become amounts in that of their asset, at the rates of the bar before.

        Raises: UnknownNameError for an asset or a currency that is none; DataError for another index, or a rate that is
            missing or not above 0 on a bar on which an asset of that currency has a price; InputError if the market has
            currencies already: a second call would undo the first.
        """
        if "fx" in self.final:
            raise InputError(
                "The market has currencies already: its field 'fx' says what a unit of each asset's is worth.\n"
                "Name all assets in one call of with_currencies, on the market without them."
            )
        currencies = checked_currencies(currencies)
        priced = ~np.isnan(self.final["close"])
        panel = rates_of(currencies, rates, base, index=self.index, assets=self.assets, priced=priced)
        check_money({**self.final, "fx": panel}, self.index, self.assets)
        same = self.final is self.panels
        panels = self._proxy({**self.panels, "fx": panel})
        final = panels if same else self._proxy({**self.final, "fx": panel})
        own = [currencies.get(asset, base) for asset in self.assets]
        actions = self.actions.in_currencies(own, rates=rates, base=base)
        return replace(self, panels=panels, final=final, actions=actions, recipe={}, _hash=[])

    def _proxy(self, panels: Mapping[str, Panel]) -> Mapping[str, Panel]:
        return MappingProxyType({name: _panel(name, values, self.shape) for name, values in panels.items()})

    def position(self, when: object) -> int:
        """Row of the first bar that ends at or after `when`; n_bars if none does.

        Args:
            when: a date, timestamp or text. Without a time zone it is read like the market's own labels. A date alone
                means the start of that day.

        Raises: InputError if `when` is not a time.
        """
        try:
            moment = pd.Timestamp(str(when) if isinstance(when, int | float) else when)  # type: ignore[arg-type]
        except (ValueError, TypeError) as error:
            raise InputError(f"{shown(when)} is not a date or time, such as '2016-03-01'.") from error
        zone = self.index.tz
        if zone is None and moment.tz is not None:
            moment = moment.tz_convert("UTC").tz_localize(None)
        elif zone is not None and moment.tz is None:
            moment = moment.tz_localize(zone)
        return int(self.index.as_unit("ns").searchsorted(moment.as_unit("ns"), side="left"))

    def save(self, folder: str | Path) -> Path:
        """Write the market as memory-mappable arrays into `folder`, all or nothing; a folder that is there is kept.

        Returns: the folder.
        """
        from knowable.data.market_files import save_market

        return save_market(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Map a saved market; pages are shared between processes and read on demand.

        Raises: StoreError if a file is absent, damaged or of a newer version.
        """
        from knowable.data.market_files import load_market

        return cls(**load_market(Path(folder)))

    @classmethod
    def bind_features(cls, field: Callable[[Any, str], Any], expression: Callable[[Any, str], Any]) -> None:
        """Say what ``market.close`` and ``market.expression(text)`` give. The features room plugs in here, once."""
        cls._field_factory[:] = [field, expression]

    def expression(self, text: str) -> Any:
        """The feature of a text on this market: ``market.expression("rank(close / lag(close, 126) - 1)")``.

        The text is one expression, written as in Python with the market's fields, numbers, operators and the functions
        of knowable.features; lines before it may name parts, ``x1 = close / open``. `Feature.text` writes such texts.
        It is read by a grammar of its own and never executed, so that a text of a file can do nothing else.

        Raises: InputError with line, column and what was expected; UnknownNameError for a field or function that is
            not there.
        """
        if not self._field_factory:
            raise StoreError("Expressions read as features only after `import knowable`.")
        return self._field_factory[1](self, text)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self.panels:
            raise UnknownAttributeError(str(unknown_name("field", name, self.panels, where="the market")))
        if not self._field_factory:
            raise StoreError("Fields read as features only after `import knowable`; use market.panel(name) here.")
        return self._field_factory[0](self, name)

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self.panels]

    def __repr__(self) -> str:
        span = f"{self.index[0]:%Y-%m-%d} to {self.index[-1]:%Y-%m-%d}" if self.n_bars else "empty"
        clock = self.calendar or "rows as clock"
        return (
            f"Market({self.n_bars} bars x {self.n_assets} assets, {span}, {clock}, "
            f"{self.bars_per_year:g} bars a year; fields {', '.join(self.panels)})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        held = {name: _plain(getattr(self, name)) for name in self.__slots__ if name not in ("_hash", "_days")}
        return _rebuild, (type(self), {**held, "final": None if self.final is self.panels else held["final"]})


def members_of(market: Market) -> npt.NDArray[np.bool_] | None:
    """(n_bars, n_assets) which assets are members on each bar; None where the market has no universe."""
    return market.panels[UNIVERSE] == 1.0 if UNIVERSE in market.panels else None


def _rebuild(kind: type[Market], values: dict[str, Any]) -> Market:
    """Restore the read-only locks that pickling drops."""
    for name in ("panels", "final"):
        if values[name] is not None:
            values[name] = MappingProxyType({key: _lock(array) for key, array in values[name].items()})
    values["final"] = values["panels"] if values["final"] is None else values["final"]
    return kind(**{**values, "times": _lock(values["times"]), "decision_times": _lock(values["decision_times"])})


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, MappingProxyType) else value


def _allows(missing: str) -> bool:
    if missing not in ("refuse", "allow"):
        raise unknown_name("way with gaps", missing, ["refuse", "allow"], where="missing")
    return missing == "allow"


def _lock(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _panel(name: str, values: npt.NDArray[np.float64], shape: tuple[int, int]) -> Panel:
    if values.shape != shape:
        raise InputError(f"Panel {name!r} has shape {values.shape}; the market needs (n_bars, n_assets) = {shape}.")
    return _lock(np.ascontiguousarray(values, dtype=np.float64))


def _times(index: pd.DatetimeIndex, name: str | None) -> Nanos:
    """Bar ends in ns UTC: the close of the session where labels are dates of an exchange, else the label itself."""
    if name is None:
        return _lock(index.as_unit("ns").asi8.copy())
    clock = calendar(name)
    naive = index.tz_localize(None).as_unit("ns")
    if bool((naive.asi8 % _DAY_NS == 0).all()):
        return _lock(clock.closes(naive.to_numpy().astype("datetime64[D]")))
    if index.tz is None:
        raise InputError(
            f"calendar={name!r} with intraday labels needs a time zone, but the index has none (first: {index[0]}).\n"
            "Say it once: frame.index = frame.index.tz_localize('America/New_York')."
        )
    return _lock(index.as_unit("ns").asi8.copy())


def _bars_per_year(times: Nanos, name: str | None) -> float:
    return index_bars_per_year(times) if name is None else calendar(name).bars_per_year(times)


def _fingerprint(market: Market) -> str:
    digest = hashlib.sha256()
    head = {"format": _FORMAT, "assets": market.assets, "calendar": market.calendar, "year": market.bars_per_year}
    digest.update(json.dumps({**head, "zone": str(market.index.tz)}).encode())
    digest.update(market.index.as_unit("ns").asi8.tobytes())  # weeks and months end by the labels' own zone
    digest.update(market.times.tobytes())
    digest.update(market.decision_times.tobytes())
    sums: dict[int, bytes] = {}  # panels that are one array are hashed once
    for group in (market.panels, market.final):
        for name in sorted(group):
            values = group[name]
            if id(values) not in sums:
                sums[id(values)] = hashlib.sha256(values.data).digest()
            digest.update(name.encode() + b"\0" + sums[id(values)])
    if len(market.actions):
        digest.update(market.actions.digest + market.adjust.encode())
    return digest.hexdigest()
