"""`Stepper`: the same expression bar by bar, with a state that can be stored: the live driver."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.errors import InputError, ShapeError, StoreError, shown, unknown_name
from knowable.features.gate import arrays_of, clock_rows, run_operator, start_operator
from knowable.features.node import CLOCKS, Node, digest, topological
from knowable.features.operators import OPERATORS
from knowable.features.program import constant

__all__ = ["Stepper"]

_MAGIC = b"knowable-stepper-1\n"
_HASH_BYTES = 32


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
        self.n_bars = 0
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
                self._states[each] = start_operator(op, each.inputs, len(self.assets), each.settings)
        self._last_time = np.full(1, np.iinfo(np.int64).min)
        self._constants = {each: constant(each.settings[0]) for each in self._order if each.op == "number"}

    def step(self, bar: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """The values of one bar.

        Args:
            bar: field -> (n_assets,) values in the order of `assets`; and, where `timed`, ``time``: when the bar ends,
                in ns UTC, or as the market labels its bars. Further fields are ignored.

        Returns: (n_assets,) float64, read-only.
        Raises: UnknownNameError if a field is absent; ShapeError if a row has another length; InputError if its time is
            absent or not after the last bar's; the state stays.
        """
        rows = {name: self._rows(name, bar, 1) for name in self.fields}
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
        for name in self.fields:
            if name not in panels:
                raise unknown_name("field", name, panels, where="the bar")
        n_bars = len(np.asarray(panels[self.fields[0]]))
        rows = {name: self._rows(name, panels, n_bars) for name in self.fields}
        return self._run(rows, self._times(times, n_bars), n_bars)

    def state(self) -> bytes:
        """All it carries, as bytes for `restore`: a header in JSON, the raw arrays, a SHA-256 of both."""
        arrays = self._arrays()
        header = {
            "expression": self._text,
            "digest": self._digest,
            "assets": list(self.assets),
            "n_bars": self.n_bars,
            "arrays": [[array.dtype.str, list(array.shape)] for array in arrays],
        }
        head = json.dumps(header).encode()
        body = _MAGIC + len(head).to_bytes(8, "little") + head + b"".join(array.tobytes() for array in arrays)
        return body + hashlib.sha256(body).digest()

    def restore(self, state: bytes) -> None:
        """Take over a stored state; the next `step` gives the bits it would have given there.

        Raises: StoreError if the bytes are damaged, or are of another expression, asset list or version. The stepper is
        then unchanged.
        """
        header, body = _open(state)
        for name, mine, theirs in (
            ("expression", self._digest, header["digest"]),
            ("assets", list(self.assets), header["assets"]),
        ):
            if mine != theirs:
                came = header["expression"] if name == "expression" else theirs
                have = self._text if name == "expression" else mine
                raise StoreError(f"The state is of another {name}: {shown(came)}; this stepper has {shown(have)}.")
        arrays = self._arrays()
        if [[array.dtype.str, list(array.shape)] for array in arrays] != header["arrays"]:
            raise StoreError(f"The state of {self._text} has another layout; it was stored by another version.")
        at = 0
        for array in arrays:
            array[...] = np.frombuffer(body, array.dtype, array.size, at).reshape(array.shape)
            at += array.nbytes
        self.n_bars = header["n_bars"]

    def _arrays(self) -> list[npt.NDArray[Any]]:
        arrays = [array for each in self._order if each in self._states for array in arrays_of(self._states[each])]
        return [*arrays, self._last_time] if self.timed else arrays

    def _rows(self, name: str, bar: Mapping[str, npt.ArrayLike], n_bars: int) -> npt.NDArray[np.float64]:
        if name not in bar:
            raise unknown_name("field", name, bar, where="the bar")
        given = np.ascontiguousarray(bar[name], dtype=np.float64)
        if given.size != n_bars * len(self.assets):
            raise ShapeError(
                f"Field {name!r} has shape {np.shape(bar[name])}; the stepper needs {len(self.assets)} assets a bar, "
                f"for {n_bars} bar{'s' if n_bars > 1 else ''}."
            )
        rows = given.reshape(n_bars, len(self.assets)).view()
        rows.flags.writeable = False
        return rows

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
                    run_operator(OPERATORS[each.op], inputs, each.settings, self._states.get(each), out)
                    values[each] = out
        self.n_bars += n_bars
        return values[self._order[-1]]


def _open(state: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and raw arrays of a stored state. Raises: StoreError."""
    head_at = len(_MAGIC) + 8
    if not state.startswith(_MAGIC) or len(state) < head_at + _HASH_BYTES:
        raise StoreError(f"These {len(state)} bytes are no stepper state, or one of a later version.")
    if hashlib.sha256(state[:-_HASH_BYTES]).digest() != state[-_HASH_BYTES:]:
        raise StoreError(f"The stepper state of {len(state)} bytes is damaged: its checksum does not hold.")
    head_end = head_at + int.from_bytes(state[len(_MAGIC) : head_at], "little")
    return json.loads(state[head_at:head_end]), state[head_end:-_HASH_BYTES]
