"""Experiments on a strategy's knowledge: show it less, or another future, and see whether its past changes."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass

import numpy as np

from knowable.backtest.weights import target_weights
from knowable.data.market import Market
from knowable.errors import KnowableError, ShapeError
from knowable.strategy import Strategy

__all__ = ["Difference", "Prober", "compare", "content", "poisoned"]

# Weights are fractions of equity. BLAS may round a matrix-vector product differently for another number of rows
# (measured 3e-16 relative); rolling, expanding, ewm and rank of pandas give the same bits on a prefix.
_RELATIVE = 1e-9
_ABSOLUTE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where one run of a strategy departs from another, asset by asset.

    Args:
        cut: number of leading rows that both runs knew.
        by: ``"values"`` when later rows had other values, ``"length"`` when there were none.
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


def compare(full: np.ndarray, other: np.ndarray, cut: int, by: str) -> Difference:
    """Compare the first `cut` rows of two weight panels; NaN equals NaN."""
    a, b = full[:cut], other[:cut]
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(invalid="ignore"):
        close = np.abs(a - b) <= np.maximum(_ABSOLUTE, _RELATIVE * np.maximum(np.abs(a), np.abs(b)))
    first, rounded = _first(differs & ~close), _first(differs & close)
    row, column = np.where(first >= 0, first, np.maximum(rounded, 0)), np.arange(a.shape[1])
    return Difference(cut=cut, by=by, first=first, rounded=rounded, was=a[row, column], became=b[row, column])


def poisoned(market: Market, cut: int, rng: np.random.Generator) -> Market:
    """The same first `cut` rows, then another plausible future.

    Later rows are drawn from all rows of the market and scaled, all fields of a row by one factor, so that a bar stays
    a bar (high above low). Panels of whole numbers (membership, codes, counts) are drawn but not scaled.
    """
    n_later = market.n_bars - cut
    drawn = rng.integers(0, market.n_bars, n_later)
    factor = np.exp(rng.normal(0.0, 0.25, n_later))[:, None]

    def other(values: np.ndarray) -> np.ndarray:
        later = values[drawn]
        panel = np.concatenate([values[:cut], later if _whole(values) else later * factor])
        panel.setflags(write=False)
        return panel

    panels = {name: other(values) for name, values in market.panels.items()}
    final = None
    if market.final is not market.panels:
        final = {name: other(values) for name, values in market.final.items()}
    return market.with_panels(panels, final=final)


def content(market: Market) -> bytes:
    """Digest of what is in the panels now, computed afresh: the market's own fingerprint is remembered."""
    digest = hashlib.blake2b(digest_size=16)
    for group in (market.panels, market.final):
        for name in sorted(group):
            digest.update(np.ascontiguousarray(group[name]).data)
    return digest.digest()


class Prober:
    """Runs a strategy on altered markets and remembers what each cut showed.

    Args:
        strategy: an instance; every run gets a copy of it as it was, so that nothing it keeps carries over.
        market: everything.
        seed: of the invented futures; each cut has its own, whatever the order of probing.
    """

    def __init__(self, strategy: Strategy, market: Market, seed: int) -> None:
        self.market = market
        self.seed = seed
        self.strategy = strategy
        self.n_runs = 0
        self.failures: dict[int, list[KnowableError]] = {}
        self._seen: dict[int, list[Difference]] = {}
        self.full = self.run(market)

    def run(self, market: Market) -> np.ndarray:
        """Weights of a fresh copy of the strategy on `market`."""
        self.n_runs += 1
        weights = target_weights(_copy(self.strategy), market)
        return np.array(weights)  # the strategy may hand out, and later reuse, its own array

    @property
    def cuts(self) -> list[int]:
        """Cuts probed so far, ascending."""
        return sorted(self._seen)

    def at(self, cut: int) -> list[Difference]:
        """What changes in rows before `cut` when later rows are missing, and when they are others."""
        if cut not in self._seen:
            rng = np.random.default_rng([self.seed, cut])
            self._seen[cut] = []
            for by in ("length", "values"):
                altered = self.market.until(cut) if by == "length" else poisoned(self.market, cut, rng)
                try:
                    other = self.run(altered)
                except KnowableError as error:
                    self.failures.setdefault(cut, []).append(error)
                else:
                    self._seen[cut].append(compare(self.full, other, cut, by))
        return self._seen[cut]

    def differences(self) -> list[Difference]:
        """All comparisons made so far, by ascending cut."""
        return [difference for cut in self.cuts for difference in self._seen[cut]]

    def misshapen(self) -> dict[int, ShapeError]:
        """Cuts at which the strategy returned rows that the shorter market does not have."""
        found = {}
        for cut, errors in self.failures.items():
            for error in errors:
                if isinstance(error, ShapeError):
                    found[cut] = error
        return found


def _first(mask: np.ndarray) -> np.ndarray:
    return np.where(mask.any(axis=0), mask.argmax(axis=0), -1).astype(np.int64)


def _whole(values: np.ndarray) -> bool:
    return bool((np.isnan(values) | (values == np.floor(values))).all())


def _copy(strategy: Strategy) -> Strategy:
    try:
        return copy.deepcopy(strategy)
    except (TypeError, AttributeError, copy.Error):
        # It holds something that cannot be copied, such as a lock or an open file: share it.
        return copy.copy(strategy)
