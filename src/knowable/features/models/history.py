"""The rows a model may still need: features, labels' feature and members, with a hash of what each bar holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.features.models.fitting import aligned

__all__ = ["History", "complete", "training", "usable"]

Panel = npt.NDArray[np.float64]

_HASH_BYTES = 16


class History:
    """Consecutive bars, of which the oldest are let go. Rows are counted from the first bar ever seen.

    Args:
        n_assets: columns.
        n_features: features a cell has.
        ahead: bars from a row to the one at which its label is known.

    Attributes:
        first, stop: the half-open range of rows that are held.
        ahead: as given.
    """

    def __init__(self, n_assets: int, n_features: int, ahead: int) -> None:
        self.ahead = ahead
        self.first = self.stop = self._base = 0
        self._days = np.empty(0, np.int64)
        self._x = np.empty((0, n_assets, n_features))
        self._label = np.empty((0, n_assets))
        self._members = np.empty((0, n_assets), np.uint8)
        self._seen: list[bytes] = []  # of each row held: a hash of its features
        self._known: list[bytes] = []  # of each whose label is known: a hash of all that it trains with
        self._trains: list[int] = []  # and how many rows so far had anything to train with
        self._trained_before = 0  # the same, at the row before the first

    def extend(self, days: npt.NDArray[Any], x: Sequence[Panel], label: Panel, members: npt.NDArray[Any]) -> None:
        """Add rows: days (n,), each feature (n, n_assets), the label's feature likewise, members 1 or not."""
        n_new = len(days)
        self._make_room(n_new)
        new = slice(self.stop - self._base, self.stop - self._base + n_new)
        self._days[new] = days
        for k, panel in enumerate(x):
            self._x[new, :, k] = panel
        self._label[new] = label
        self._members[new] = members == 1
        self.stop += n_new
        self._describe()

    def drop_before(self, row: int) -> None:
        """Let go of the rows before `row`."""
        gone = min(max(row, self.first), self.stop) - self.first
        if gone:
            if self._trains:
                self._trained_before = self._trains[min(gone, len(self._trains)) - 1]
            self.first += gone
            del self._seen[:gone], self._known[:gone], self._trains[:gone]

    def day(self, row: int) -> int:
        """Days since 1970 of a row."""
        return int(self._days[row - self._base])

    def first_after(self, day: int) -> int:
        """The first row held that is of a later day."""
        days = self._days[self.first - self._base : self.stop - self._base]
        return self.first + int(np.searchsorted(days, day, side="right"))

    def n_training_bars(self, first: int, stop: int) -> int:
        """How many rows of a range, all with a known label, have an asset to train with."""
        if stop <= first:
            return 0
        before = self._trains[first - self.first - 1] if first > self.first else self._trained_before
        return self._trains[stop - self.first - 1] - before

    def seen(self, row: int) -> bytes:
        """A hash of a bar's features: what a prediction depends on beside the fit."""
        return self._seen[row - self.first]

    def known(self, first: int, stop: int) -> bytes:
        """A hash of all that a fit to a range of rows depends on beside the estimator."""
        return b"".join(self._known[first - self.first : stop - self.first])

    def rows(self, first: int, stop: int) -> Panel:
        """The features of a range, (n_rows, n_assets, n_features)."""
        return self._x[first - self._base : stop - self._base]

    def training(self, first: int, stop: int) -> tuple[Panel, Panel]:
        """What a fit to a range of rows is given, as `training` makes it."""
        return training(self.rows(first, stop), *self._labelled(first, stop))

    def arrays(self) -> list[npt.NDArray[Any]]:
        """All it holds: the first row, days, features, label's feature, members."""
        held = slice(self.first - self._base, self.stop - self._base)
        panels = (self._days[held], self._x[held], self._label[held], self._members[held])
        return [np.array([self.first]), *(np.ascontiguousarray(each) for each in panels)]

    def restore(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Take over what `arrays` gave."""
        begin, days, x, label, members = arrays
        self.first = self.stop = self._base = int(begin[0])
        self._days, self._x = np.empty(0, np.int64), np.empty((0, *x.shape[1:]))
        self._label, self._members = np.empty((0, *label.shape[1:])), np.empty((0, *members.shape[1:]), np.uint8)
        self._seen, self._known, self._trains, self._trained_before = [], [], [], 0
        self.extend(days, list(np.moveaxis(x, 2, 0)), label, members)

    def _labelled(self, first: int, stop: int) -> tuple[Panel, npt.NDArray[np.uint8]]:
        """Labels and members of a range of rows."""
        label = self._label[first + self.ahead - self._base : stop + self.ahead - self._base]
        return label, self._members[first - self._base : stop - self._base]

    def _make_room(self, n_new: int) -> None:
        """Twice the room needed, and the rows let go left behind, so that adding a bar costs little on average."""
        held = slice(self.first - self._base, self.stop - self._base)
        if held.stop + n_new <= len(self._days):
            return
        n_held = self.stop - self.first
        room = n_held + n_new if n_new > n_held else 2 * (n_held + n_new)

        def moved(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            made = np.empty((room, *array.shape[1:]), array.dtype)
            made[:n_held] = array[held]
            return made

        self._days, self._x = moved(self._days), moved(self._x)
        self._label, self._members = moved(self._label), moved(self._members)
        self._base = self.first

    def _describe(self) -> None:
        """Hash the new rows, and those whose labels have become known with them."""
        for row in range(self.first + len(self._seen), self.stop):
            self._seen.append(_hash(self._x[row - self._base]))
        begin, end = self.first + len(self._known), self.stop - self.ahead
        if end <= begin:
            return
        x, (label, members) = self.rows(begin, end), self._labelled(begin, end)
        trains = np.count_nonzero(usable(x, label, members), axis=1) > 0
        count = self._trains[-1] if self._trains else self._trained_before
        for k in range(end - begin):
            count += int(trains[k])
            self._trains.append(count)
            self._known.append(_hash(label[k], members[k], before=self._seen[begin + k - self.first]))


def complete(x: Panel) -> npt.NDArray[np.bool_]:
    """Which cells have all their features, none missing or infinite. x: (..., n_features)."""
    return np.asarray(np.isfinite(x).all(axis=-1))


def usable(x: Panel, label: Panel, members: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which cells train: members without a missing or infinite feature or label."""
    found: npt.NDArray[np.bool_] = complete(x) & np.isfinite(label) & (members == 1)
    return found


def training(x: Panel, label: Panel, members: npt.NDArray[np.uint8]) -> tuple[Panel, Panel]:
    """Features (n, n_features) and labels (n,) of the cells that train, bar by bar, assets in the market's order."""
    kept = usable(x, label, members)
    out = aligned((int(np.count_nonzero(kept)), x.shape[2]))
    np.take(x.reshape(-1, x.shape[2]), np.flatnonzero(kept), axis=0, out=out)
    return out, label[kept]


def _hash(*arrays: npt.NDArray[Any], before: bytes = b"") -> bytes:
    made = hashlib.blake2b(before, digest_size=_HASH_BYTES)
    for array in arrays:
        made.update(array.data)
    return made.digest()
