"""Experiments on a strategy's knowledge: show it less, or another future, and see whether its past changes."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from knowable.backtest.weights import call_weights, expression_of, untrained_models, weights_panel
from knowable.data.market import Market
from knowable.errors import KnowableError, ShapeError
from knowable.strategy import Strategy
from knowable.validate.futures import perturbed, poisoned
from knowable.validate.memory import Memory
from knowable.validate.outside import Outside
from knowable.validate.reach import reach_of

__all__ = ["Answer", "Difference", "Prober", "compare", "content"]

# Weights are fractions of equity. BLAS may round a matrix-vector product differently for another number of rows
# (measured 3e-16 relative); rolling, expanding, ewm and rank of pandas give the same bits on a prefix.
_RELATIVE = 1e-9
_ABSOLUTE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where one run of a strategy departs from another, asset by asset.

    Args:
        cut: number of leading rows that both runs knew.
        by: what was done: ``"values"`` when later rows were others, ``"slightly"`` when they were moved a little,
            ``"length"`` when there were none, ``"outside"`` when later rows of data from elsewhere were others.
        first: (n_assets,) int64 first row that really differs, or -1.
        rounded: (n_assets,) int64 first row that differs by rounding only, or -1.
        was: (n_assets,) the weight at that row when everything was known.
        became: (n_assets,) the weight at that row in this run.
    """

    cut: int
    by: str
    first: np.ndarray
    rounded: np.ndarray
    was: np.ndarray
    became: np.ndarray

    @property
    def found(self) -> bool:
        """Whether any asset really differs."""
        return bool((self.first >= 0).any())


class Answer:
    """What a strategy returned for one market: an expression of the platform's language, or else a panel.

    Args:
        returned: what `weights` gave. strategy: who. market: for what.
        trusting: keep an expression as it is, for equal expressions of a language that cannot look ahead need no
            comparing; otherwise all is evaluated.
    """

    def __init__(self, returned: Any, strategy: Strategy, market: Market, *, trusting: bool) -> None:
        self.expression = expression_of(returned, market) if trusting else None
        self._panel: np.ndarray | None = None
        self._ask = (returned, strategy, market)
        if self.expression is None:
            # the strategy may hand out, and later reuse, its own array
            self._panel = np.array(weights_panel(returned, strategy, market))

    @cached_property
    def untrained(self) -> list[str] | None:
        """Its estimators that predict the same whatever trains them; None where it has no models."""
        return untrained_models(self._ask[0], self._ask[2])

    @property
    def panel(self) -> np.ndarray:
        """(n_bars, n_assets) the weights."""
        if self._panel is None:
            self._panel = np.array(weights_panel(*self._ask))
        return self._panel


def compare(full: Answer, other: Answer, cut: int, by: str) -> Difference | None:
    """Compare the first `cut` rows of two answers; NaN equals NaN. None where both are one expression."""
    if full.expression is not None and full.expression is other.expression:
        return None
    return compare_panels(full.panel, other.panel, cut, by)


def compare_panels(full: np.ndarray, other: np.ndarray, cut: int, by: str, *, rows_from: int = 0) -> Difference:
    """Compare rows [rows_from, cut) of two weight panels; NaN equals NaN."""
    a, b = full[rows_from:cut], other[rows_from:cut]
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(invalid="ignore"):
        close = np.abs(a - b) <= np.maximum(_ABSOLUTE, _RELATIVE * np.maximum(np.abs(a), np.abs(b)))
    first, rounded = _first(differs & ~close), _first(differs & close)
    row, column = np.where(first >= 0, first, np.maximum(rounded, 0)), np.arange(a.shape[1])
    return Difference(
        cut=cut,
        by=by,
        first=np.where(first >= 0, first + rows_from, -1),
        rounded=np.where(rounded >= 0, rounded + rows_from, -1),
        was=a[row, column],
        became=b[row, column],
    )


def content(market: Market) -> bytes:
    """Digest of what is in the panels now, computed afresh: the market's own fingerprint is remembered."""
    digest = hashlib.blake2b(digest_size=16)
    seen: set[int] = set()
    for group in (market.panels, market.final):
        for name in sorted(group):
            if id(group[name]) not in seen:
                seen.add(id(group[name]))
                digest.update(np.ascontiguousarray(group[name]).data)
    return digest.digest()


class Prober:
    """Runs a strategy on altered markets and remembers what each cut showed.

    Every run is a first one: it gets a copy of the instance as it was, and what the code keeps outside it is put back.

    Args:
        strategy: an instance.
        market: everything.
        seed: of the invented futures; each cut has its own, whatever the order of probing.
        trusting: take equal expressions of the platform's language for equal weights, without evaluating them.
        kinds: what to do at each cut; see `Difference.by`.

    Attributes:
        full: what it returned for everything.
        kept: what its code had kept outside the instance after that first run.
        failures: cut -> why runs at it failed.
        same: how many runs gave the very expression that the first gave.
        warm: whether runs begin with what earlier ones kept, for that was seen to do no harm.
        shared: whether the instance could not be copied, so that all runs share what it holds.
    """

    def __init__(
        self,
        strategy: Strategy,
        market: Market,
        seed: int,
        *,
        trusting: bool = False,
        kinds: tuple[str, ...] = ("length", "values", "slightly"),
    ) -> None:
        self.market, self.seed, self.strategy = market, seed, strategy
        self.trusting = trusting
        self.n_runs = 0
        self.failures: dict[int, list[KnowableError]] = {}
        self.same = 0
        self._seen: dict[int, dict[str, Difference | None]] = {}
        self._kinds = kinds
        self.reach = reach_of(strategy)
        self._find_outside(None)
        self.memory = self._before = Memory(self.reach)
        self.warm = False
        self.shared = _copy(strategy) is None
        try:
            self.full = self.run(market)
            self.kept = self.memory.changed()
        except BaseException:
            self.close()
            raise

    def tables_now(self) -> dict[str, set[bytes]]:
        """Digests of the tables with a row a bar that code can reach now, by the name of their place."""
        return Outside(reach_of(self.strategy), self.market).content()

    def keep_warm(self, loaded: Collection[str]) -> None:
        """Begin further runs with what the code keeps now: it was seen to do no harm, and may be slow to make again.

        Args:
            loaded: names of places that hold data from elsewhere, and not what was computed from a market.
        """
        self.warm = True
        self.reach = reach_of(self.strategy)
        self.memory = Memory(self.reach)
        self._find_outside({*self.outside.names, *loaded})

    def close(self) -> None:
        """Put back what the code kept outside the instance before all this."""
        self._before.restore(caches=not self.warm)

    def run(self, market: Market, *, afresh: bool = True, outside_cut: int | None = None) -> Answer:
        """What a copy of the strategy returns for `market`.

        Args:
            market: what it is shown.
            afresh: put back what its code keeps outside the instance before it runs.
            outside_cut: rows after this bar are others in data from elsewhere.
        """
        self.n_runs += 1
        if afresh:
            self.memory.restore(caches=not self.warm)
        strategy = _copy(self.strategy) or copy.copy(self.strategy)
        if self.outside.names and strategy.compiled:
            object.__setattr__(strategy, "compiled", False)  # compiled code keeps the tables that it was compiled with
        with contextlib.ExitStack() as stack:
            if outside_cut is not None:
                stack.enter_context(self.outside.altered(outside_cut, self.seed))(strategy)
            return contextvars.copy_context().run(self._answer, strategy, market)

    def _answer(self, strategy: Strategy, market: Market) -> Answer:
        return Answer(call_weights(strategy, market), strategy, market, trusting=self.trusting)

    @property
    def cuts(self) -> list[int]:
        """Cuts probed so far, ascending."""
        return sorted(self._seen)

    def at(self, cut: int) -> list[Difference]:
        """What changes in rows before `cut` when later rows are missing, are others, or are moved a little."""
        for by in self.kinds:
            self.probe(cut, by)
        return [each for each in self._seen[cut].values() if each is not None]

    def probe(self, cut: int, by: str) -> Difference | None:
        """One experiment at one cut; None where it failed or two equal expressions came."""
        seen = self._seen.setdefault(cut, {})
        if by not in seen:
            seen[by] = None
            try:
                other = self.run(self.altered(cut, by), outside_cut=cut if by == "outside" else None)
                seen[by] = compare(self.full, other, cut, by)
                self.same += seen[by] is None
            except KnowableError as error:
                self.failures.setdefault(cut, []).append(error)
        return seen[by]

    def differences(self) -> list[Difference]:
        """All comparisons made so far, by ascending cut."""
        return [each for cut in self.cuts for each in self._seen[cut].values() if each is not None]

    def misshapen(self) -> dict[int, ShapeError]:
        """Cuts at which the strategy returned rows that the shorter market does not have."""
        found = {}
        for cut, errors in self.failures.items():
            for error in errors:
                if isinstance(error, ShapeError):
                    found[cut] = error
        return found

    def altered(self, cut: int, by: str) -> Market:
        """The market of one experiment at one cut."""
        if by == "length":
            return self.market.until(cut)
        if by == "outside":
            return self.market
        rng = np.random.default_rng([self.seed, cut])
        return poisoned(self.market, cut, rng) if by == "values" else perturbed(self.market, cut, rng)

    def _find_outside(self, only: Collection[str] | None) -> None:
        self.outside = Outside(self.reach, self.market, only)
        self.kinds = (*self._kinds, "outside") if self.outside.names else self._kinds


def _first(mask: np.ndarray) -> np.ndarray:
    return np.where(mask.any(axis=0), mask.argmax(axis=0), -1).astype(np.int64)


def _copy(strategy: Strategy) -> Strategy | None:
    """A copy of the instance and all in it; None if it holds what cannot be copied, such as a lock or an open file."""
    try:
        return copy.deepcopy(strategy)
    except (TypeError, AttributeError, copy.Error):
        return None
