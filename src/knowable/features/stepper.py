"""`Stepper`: the same expression bar by bar, with a state that can be stored: the live driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.errors import InputError, ShapeError, StoreError, UnsolvedError, shown
from knowable.features.bars import panel_of, rows_of
from knowable.features.gate import arrays_of, clock_rows, layout_of, run_operator, start_operator
from knowable.features.node import CLOCKS, Node, digest, topological
from knowable.features.operators import OPERATORS
from knowable.features.program import constant
from knowable.features.state import fits, pack, take_over, unpack

__all__ = ["Stepper"]


class Stepper:
    """Evaluates an expression a bar at a time; the rows have the same bits as the batch.

    Args:
        node: the expression, without symbols.
        market: names the assets, the fields and the calendar; its bars are not read. To continue after its last bar,
            `feed` it first.

    Attributes:
        fields: the fields that a bar must hold.
        timed: whether a bar must say its time, because the expression uses a clock: ``every=...`` or `days_since`.
        assets: the order of values in a row.
        n_bars: how many bars it has seen.
    """

    def __init__(self, node: Node, market: Market) -> None:
        if node.symbols:
            raise InputError(
                f"A stepper needs numbers, but `{node!r}` has {', '.join(sorted(node.symbols))} without a value."
            )
        self._order = topological(node)
        self._digest = digest(node)
        self._text = repr(node)
        self.assets = market.assets
        self.fields = tuple(sorted(str(each.settings[0]) for each in self._order if each.op == "field"))
        for name in self.fields:
            market.panel(name)  # raises on an unknown one
        self._last_use = {below: each for each in self._order for below in each.inputs}
        self.n_bars = 0
        self._torn = False
        self._clock = market.clock
        self._clocks = tuple(each for each in self._order if each.op in CLOCKS)
        self.timed = bool(self._clocks)
        if self.timed and "time" in self.fields:
            raise InputError(
                f"`{self._text}` uses a clock and a field 'time', but a bar's 'time' is when it ends; rename the field."
            )
        self._states: dict[Node, Any] = {}
        for each in self._order:
            op = OPERATORS.get(each.op)
            if each.op == "ends":
                self._states[each] = self._clock.start()
            elif op is not None and op.start is not None and not each.scalar:
                self._states[each] = self._start(each)
        self._last_time = np.full(1, np.iinfo(np.int64).min)
        self._constants = {each: constant(each.settings[0]) for each in self._order if each.op == "number"}

    def _start(self, each: Node) -> Any:
        try:
            return start_operator(OPERATORS[each.op], each.inputs, len(self.assets), each.settings)
        except MemoryError as error:
            raise InputError(f"`{each!r}` carries more bars than fit into memory: {error}") from error

    def step(self, bar: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """The values of one bar.

        Args:
            bar: field -> (n_assets,) values in the order of `assets`, or a Series labelled in that order; and, where
                `timed`, ``time``: when the bar ends, in ns UTC, or as the market labels its bars. Further fields are
                ignored.

        Returns: (n_assets,) float64, read-only.
        Raises: UnknownNameError if a field is absent; ShapeError if a row has another length or order; InputError if a
            value is no number, or the time is absent or not after the last bar's; the state stays.
        """
        rows = {name: rows_of(name, bar, self.assets) for name in self.fields}
        times = self._times([bar["time"]] if "time" in bar else None, 1)
        row: npt.NDArray[np.float64] = self._run(rows, times, 1)[0]
        return row

    def feed(self, panels: Mapping[str, npt.ArrayLike], times: Any = None) -> npt.NDArray[np.float64]:
        """The values of many bars at once, as if stepped through; ``feed(market.panels, market.times)`` catches up on a
        history.

        Args:
            panels: field -> (n_bars, n_assets).
            times: (n_bars,) when each bar ends, in ns UTC, or as the market labels its bars; needed where `timed`.

        Returns: (n_bars, n_assets) float64, read-only.
        """
        rows = {name: panel_of(name, panels, self.assets) for name in self.fields}
        n_bars = len(rows[self.fields[0]])
        for name, panel in rows.items():
            if len(panel) != n_bars:
                raise ShapeError(
                    f"Field {name!r} has {len(panel)} bars, but {self.fields[0]!r} has {n_bars}; each has a row a bar."
                )
        return self._run(rows, self._times(times, n_bars), n_bars)

    def state(self) -> bytes:
        """All it carries, as bytes for `restore`: a header in JSON, the raw arrays, a SHA-256 of both."""
        self._whole()
        return pack(self._header(), [array for each in self._carried() for array in arrays_of(each)])

    def restore(self, state: bytes) -> None:
        """Take over a stored state; the next `step` gives the bits it would have given there.

        Raises: StoreError if the bytes are damaged, or are of another expression, list or order of assets, calendar or
        release. The stepper is then unchanged.
        """
        came, body = unpack(state)
        mine = self._header()
        if came["digest"] != mine["digest"]:
            raise StoreError(
                f"The state is of another expression: `{came['expression']}`; this stepper has `{self._text}`."
            )
        if came["assets"] != mine["assets"]:
            raise StoreError(_other_assets(came["assets"], mine["assets"]))
        if came["clock"] != mine["clock"]:
            raise StoreError(
                f"The state is of a market with calendar and zone {came['clock']}; this stepper's has {mine['clock']}."
            )
        if came["states"] != mine["states"] or not fits(came["arrays"], self._carried()):
            raise StoreError(
                f"The state of `{self._text}` has another layout, so another release stored it. Feed the history to a "
                "new stepper instead."
            )
        take_over(self._carried(), came["arrays"], body)
        self.n_bars = came["n_bars"]
        self._torn = False

    def _header(self) -> dict[str, Any]:
        return {
            "expression": self._text,
            "digest": self._digest,
            "assets": list(self.assets),
            "clock": [self._clock.calendar, str(self._clock.zone)] if self.timed else [],
            "n_bars": self.n_bars,
            "states": [layout_of(each, self._states[each]) for each in self._order if each in self._states],
        }

    def _carried(self) -> list[Any]:
        """The states, always in the same order."""
        states = [self._states[each] for each in self._order if each in self._states]
        return [*states, (self._last_time,)] if self.timed else states

    def _whole(self) -> None:
        if self._torn:
            raise StoreError(
                f"The stepper of `{self._text}` was interrupted in the middle of a bar, so what it carries belongs to "
                "no bar. Restore a stored state, or feed the history to a new stepper."
            )

    def _times(self, given: Any, n_bars: int) -> npt.NDArray[np.int64]:
        """Bar ends in ns UTC; none where no clock is used."""
        if not self.timed:
            return np.empty(0, np.int64)
        if given is None:
            raise InputError(
                f"`{self._text}` uses a clock, so it needs to know when bars end: step({{..., 'time': moment}}), or "
                "feed(panels, times=market.times)."
            )
        times = self._clock.moments(given)
        if times.shape != (n_bars,):
            raise ShapeError(f"`times` has shape {times.shape}; the stepper needs a time for each of {n_bars} bars.")
        before = np.concatenate([self._last_time, times[:-1]])
        if (times <= before).any():
            k = int((times <= before).argmax())
            came, last = (pd.Timestamp(int(moments[k])) for moments in (times, before))
            raise InputError(f"Bars come in order of time, but one that ends at {came} came after {last} (UTC).")
        return times

    def _run(
        self, rows: Mapping[str, npt.NDArray[np.float64]], times: npt.NDArray[np.int64], n_bars: int
    ) -> npt.NDArray[np.float64]:
        self._whole()
        self._torn = True
        values: dict[Node, npt.NDArray[np.float64]] = dict(self._constants)
        values |= {each: clock_rows(each, self._clock, times, self._states.get(each)) for each in self._clocks}
        if self.timed and n_bars:
            self._last_time[0] = times[-1]
        with np.errstate(all="ignore"):
            for each in self._order:
                if each.op == "field":
                    values[each] = rows[str(each.settings[0])]
                elif not each.scalar and each not in values:
                    out = np.empty((n_bars, len(self.assets)))
                    inputs = [values[below] for below in each.inputs]
                    try:
                        run_operator(OPERATORS[each.op], inputs, each.settings, self._states.get(each), out)
                    except UnsolvedError as error:
                        when = pd.Timestamp(int(times[error.row])) if self.timed else "no clock"
                        raise error.at(self.n_bars + error.row, when) from None
                    values[each] = out
                    for below in each.inputs:
                        if self._last_use[below] is each:  # a history takes no more memory than in a batch
                            values.pop(below, None)
        self.n_bars += n_bars
        self._torn = False
        made = values[self._order[-1]]
        if self._order[-1].op != "field":
            return made
        kept = made.copy()  # a field alone: the caller may fill its array with the next bar
        kept.flags.writeable = False
        return kept


def _other_assets(came: list[str], mine: list[str]) -> str:
    """The sentence for a state of other assets."""
    if sorted(came) == sorted(mine):
        place = next(k for k, (one, other) in enumerate(zip(came, mine, strict=True)) if one != other)
        return (
            f"The state has the stepper's assets in another order: {came[place]!r} stands at place {place}, where the "
            f"stepper has {mine[place]!r}. Make the stepper of a market with the assets in the state's order, and "
            "hand in bars in that order."
        )
    more, fewer = sorted(set(came) - set(mine)), sorted(set(mine) - set(came))
    said = [f"it has {shown(more)} beside the stepper's"] * bool(more) + [f"it lacks {shown(fewer)}"] * bool(fewer)
    return (
        f"The state is of other assets: {', and '.join(said) or 'some are there twice'}. None can join or leave, "
        "because across assets each depends on all: feed the history to a new stepper."
    )
