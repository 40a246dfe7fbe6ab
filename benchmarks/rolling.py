"""Moving features on 5,000 x 500: ours, pandas, polars, numbagg, bottleneck, and the loop a person would write by hand.

All work on the same prices without gaps, because they disagree on what a gap means, on one thread each. The panel is
laid out as everywhere in the platform, a bar after the other; numbagg and bottleneck are also given a copy of it laid
out an asset after the other, as they like it best, and the copying is not counted. bottleneck's rank is between -1 and
1; theirs and ours do the same work.

By hand means one pass that adds what enters and subtracts what leaves, without compensation: the limit of one thread,
and wrong for good after a NaN or 1e300. Also our time on two threads, each with half of the assets; the cost of
compiling; the overhead of a function on 5,000 x 1, and of a trial that the memo answers. Run as ``python -m
benchmarks.rolling``; ratios are times of the peer over ours, the best of some rounds in which all take turns: processor
time on one thread, which a busy machine disturbs least, and time on the wall for two.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # numbagg would take all cores; our kernels start no threads

import numpy as np
import pandas as pd
import polars as pl
from numba import njit

from benchmarks.timing import best
from knowable import features as f
from knowable.data.market import Market
from knowable.params import Int

N_BARS, N_ASSETS, WINDOW, LONG = 5_000, 500, 20, 250
Calls = dict[str, Callable[[], Any]]


def prices(n_assets: int, gaps: float, seed: int = 0) -> np.ndarray:
    """Geometric random walks; a share `gaps` of the cells is missing."""
    rng = np.random.default_rng(seed)
    x = 100 * np.exp(rng.normal(scale=0.02, size=(N_BARS, n_assets)).cumsum(axis=0))
    x[rng.random(x.shape) < gaps] = np.nan
    return x


def market_of(x: np.ndarray, other: np.ndarray | None = None) -> Market:
    names = tuple(f"A{j}" for j in range(x.shape[1]))
    fields = {"close": x} if other is None else {"close": x, "other": other}
    return Market.build(times=np.arange(1, N_BARS + 1) * 86_400 * 10**9, assets=names, panels=fields)


@njit(cache=True, nogil=True, error_model="numpy")
def mean_by_hand(x, window, out):
    total = np.zeros(x.shape[1])
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            total[j] += x[t, j] - (x[t - window, j] if t >= window else 0.0)
            out[t, j] = total[j] / window if t >= window - 1 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def std_by_hand(x, window, out):
    total, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            old = x[t - window, j] if t >= window else 0.0
            total[j] += x[t, j] - old
            squares[j] += x[t, j] * x[t, j] - old * old
            spread = (squares[j] - total[j] * total[j] / window) / (window - 1)
            out[t, j] = np.sqrt(max(spread, 0.0)) if t >= window - 1 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def rank_by_hand(x, out):
    for t in range(x.shape[0]):
        order = np.argsort(x[t])
        for place in range(x.shape[1]):
            out[t, order[place]] = place + 1.0


def warm(call: Callable[[], Any], repeat: int) -> float:
    """The best of some runs after a first one, in seconds."""
    call()
    return best(call, repeat)


def race(calls: Calls, repeat: int, clock: Callable[[], float] = time.process_time) -> dict[str, float]:
    """Best milliseconds of each; they take turns, so that a busy moment of the machine meets all.

    Each is called twice in its turn: the second time, it does not pay for the memory that the one before it gave back.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name, call in [(name, call) for name, call in calls.items() for _ in range(2)]:
            started = clock()
            call()
            if turn:  # the first may compile
                times[name].append((clock() - started) * 1e3)
    return {name: min(took) for name, took in times.items()}


def feature_of(market: Market, name: str, window: int) -> f.Feature:
    if name == "rank":
        return market.close.rank()
    if name == "corr":
        return market.close.corr(market.other, window)
    return market.close.ts_quantile(window, 0.9) if name == "ts_quantile" else getattr(market.close, name)(window)


class Rivals:
    """The same functions elsewhere."""

    def __init__(self, close: np.ndarray, other: np.ndarray) -> None:
        self.panels = {"": (close, other, 0), ", by asset": (close.T.copy(), other.T.copy(), 1)}
        self.frame, self.frame_2 = pd.DataFrame(close), pd.DataFrame(other)
        self.table = pl.DataFrame(close)
        self.pairs = pl.concat([self.table, pl.DataFrame(other).rename(lambda name: f"other_{name}")], how="horizontal")
        self.out = np.empty_like(close)

    def calls(self, name: str, window: int) -> Calls:
        made: Calls = {}
        if name != "argmax":
            made["pandas"] = self.pandas(name, window)
        if name not in ("rank", "ewm", "argmax"):
            made["polars"] = self.polars(name, window)
        for library, names in (("numbagg", _NUMBAGG), ("bottleneck", _BOTTLENECK)):
            if name in names and importlib.util.find_spec(library):
                function = getattr(importlib.import_module(library), names[name])
                for layout, (close, other, axis) in self.panels.items():
                    made[library + layout] = self.array(function, name, window, (close, other), axis)
        if name in _BY_HAND and window == WINDOW:
            made["by hand"] = lambda: _BY_HAND[name](self.panels[""][0], window, self.out)
        return made

    def pandas(self, name: str, window: int) -> Callable[[], Any]:
        if name == "rank":
            return lambda: self.frame.rank(axis=1)
        if name == "ewm":
            return lambda: self.frame.ewm(span=window).mean()
        if name == "ts_quantile":
            return lambda: self.frame.rolling(window).quantile(0.9)
        if name == "corr":
            return lambda: self.frame.rolling(window).corr(self.frame_2)
        return getattr(self.frame.rolling(window), {"ts_rank": "rank"}.get(name, name))

    def polars(self, name: str, window: int) -> Callable[[], Any]:
        if name == "corr":
            pairs = [pl.rolling_corr(f"column_{j}", f"other_column_{j}", window_size=window) for j in range(N_ASSETS)]
            return lambda: self.pairs.select(pairs)
        if name == "ts_quantile":
            moving = pl.all().rolling_quantile(0.9, interpolation="linear", window_size=window)
        else:
            moving = getattr(pl.all(), {"ts_rank": "rolling_rank"}.get(name, f"rolling_{name}"))(window)
        return lambda: self.table.select(moving)

    @staticmethod
    def array(
        function: Callable[..., Any], name: str, window: int, panels: tuple[np.ndarray, np.ndarray], axis: int
    ) -> Callable[[], Any]:
        options: dict[str, Any] = {"window": window, "axis": axis}
        if name == "std" and function.__module__.startswith("bottleneck"):
            options["ddof"] = 1
        return lambda: function(*panels[: 2 if name == "corr" else 1], **options)


_NUMBAGG = {"mean": "move_mean", "sum": "move_sum", "std": "move_std", "corr": "move_corr"}
_BOTTLENECK = {name: f"move_{name}" for name in ("mean", "std", "min", "max", "median", "argmax")}
_BOTTLENECK["ts_rank"] = "move_rank"
_BY_HAND = {
    "mean": mean_by_hand,
    "std": std_by_hand,
    "rank": lambda x, _, out: rank_by_hand(x, out),
}
CASES = [(name, WINDOW) for name in ("mean", "std", "min", "max", "rank", "ewm")]
CASES += [(name, window) for name in ("ts_rank", "median", "ts_quantile", "corr") for window in (WINDOW, LONG)]
CASES += [("mean", LONG), ("std", LONG), ("argmax", WINDOW)]
SCALED = ("mean", "std", "ts_rank", "ts_quantile", "corr")


def there_is(name: str) -> bool:
    return hasattr(f, name)


def panels(repeat: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each function and peer."""
    close, other = prices(N_ASSETS, 0.0), prices(N_ASSETS, 0.0, seed=1)
    market = market_of(close, other)
    rivals = Rivals(close, other)
    rows: dict[str, dict[str, float]] = {}
    for name, window in CASES:
        if there_is(name):
            calls = {"knowable": feature_of(market, name, window).values, **rivals.calls(name, window)}
            calls["copy"] = lambda: np.copyto(rivals.out, close)
            rows[f"{name} of {window} bars" if name != "rank" else "rank across assets"] = race(calls, repeat)
    return rows


def gaps(repeat: int) -> dict[str, dict[str, float]]:
    """Milliseconds where one cell in a hundred is missing, as pandas and we understand it."""
    x = prices(N_ASSETS, 0.01)
    market, rolling = market_of(x, x), pd.DataFrame(x).rolling(WINDOW)
    return {
        f"{name} of {WINDOW} bars, with gaps": race(
            {"knowable": getattr(market.close, name)(WINDOW).values, "pandas": getattr(rolling, there)}, repeat
        )
        for name, there in (("mean", "mean"), ("std", "std"), ("ts_rank", "rank"), ("median", "median"))
    }


def threads(repeat: int) -> dict[str, dict[str, float]]:
    """Milliseconds of all assets on one thread, and of two threads with half of them each: kernels hold no lock."""
    whole = prices(N_ASSETS, 0.0), prices(N_ASSETS, 0.0, seed=1)
    half = N_ASSETS // 2
    halves = [market_of(*[panel[:, part].copy() for panel in whole]) for part in (slice(half), slice(half, None))]
    rows: dict[str, dict[str, float]] = {}
    with ThreadPoolExecutor(2) as pool:
        for name in filter(there_is, SCALED):
            alone = feature_of(market_of(*whole), name, WINDOW)
            parts = [feature_of(each, name, WINDOW) for each in halves]
            calls: Calls = {
                "two threads": lambda parts=parts: [*pool.map(f.Feature.values, parts)],
                "one thread": alone.values,
            }
            rows[f"{name} of {WINDOW} bars, 2 threads"] = race(calls, repeat, time.perf_counter)
    return rows


def overheads() -> dict[str, float]:
    """Microseconds on a market of 5,000 x 1."""
    market = market_of(prices(1, 0.0))
    close = market.close
    program = f.Program.of(close > close.mean(f.symbol("n", Int(2, 4_000))))
    memo = f.Memo(100_000_000)
    made: dict[str, float] = {}
    for name, feature in (("close + 1", close + 1), ("close > 1", close > 1), ("close.mean(20)", close.mean(20))):
        alone = f.Program.of(feature)
        made[f"evaluate {name}"] = warm(lambda alone=alone: [alone.evaluate(market) for _ in range(1_000)], 3) * 1e3
    fresh = iter(range(2, 4_000))
    made["a trial of 2 new nodes"] = (
        warm(lambda: [program.evaluate(market, {"n": next(fresh)}, memo) for _ in range(300)], 3) / 300e-6
    )
    made["a trial that is known"] = (
        warm(lambda: [program.evaluate(market, {"n": 20}, memo) for _ in range(1_000)], 3) * 1e3
    )
    return made


COMPILE = """
import time, numpy as np
from knowable import features as f
from knowable.data.market import Market
m = Market.build(times=np.arange(1, 9) * 10**9, assets=("A", "B"), panels={"x": np.arange(16.0).reshape(8, 2)})
x = m.x
every = [x.mean(2), x.std(2), x.min(2), x.ewm(2), x.lag(2), x.rank(), x.zscore(), x.cross_sum(), x < 2, (x > 1) & x,
         f.maximum(x, 1), f.where(x, 1, 2), x.ts_rank(2),
         x.median(2), x.argmax(2), x.decay_linear(2), x.product(2), x.count(2), x.bars_since(), x.ffill(),
         x ** 3, f.log(x), f.log1p(x), f.exp(x), f.isnan(x)]
started = time.process_time()
for feature in every:
    feature.values()
print(time.process_time() - started)
"""


def compile_seconds() -> dict[str, float]:
    """CPU seconds for all kernels, without and with the cache on disk."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "NUMBA_CACHE_DIR": folder}
        run = [
            float(subprocess.run([sys.executable, "-c", COMPILE], env=env, capture_output=True, check=True).stdout)
            for _ in range(2)
        ]
    return {"compile all kernels": run[0], "load them from the cache": run[1]}


def run(repeat: int = 5) -> list[dict[str, Any]]:
    """Rows for the common table: our milliseconds beside each other's."""
    table = []
    for name, times in {**panels(repeat), **gaps(repeat), **threads(repeat)}.items():
        first, *others = times
        for peer in others:
            row = {"case": f"{name}, {N_BARS:,} x 500", "ours": times[first], "peer_name": peer, "peer": times[peer]}
            table.append({**row, "ratio": times[peer] / times[first], "unit": "ms"})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    chosen = parser.parse_args()
    rows = {**panels(chosen.repeat), **gaps(chosen.repeat), **threads(chosen.repeat)}
    small, compiled = overheads(), compile_seconds()
    for name, times in rows.items():
        (_, ours), *others = times.items()
        print(
            f"{name:34s} {ours:7.1f} ms; " + ", ".join(f"{p} {took:.1f} ms ({took / ours:.2f}x)" for p, took in others)
        )
    for name, took in small.items():
        print(f"{name:28s} {took:8.1f} us")
    for name, took in compiled.items():
        print(f"{name:28s} {took:8.2f} s")
    if chosen.out:
        chosen.out.write_text(json.dumps({"milliseconds": rows, "microseconds": small, "seconds": compiled}, indent=2))


if __name__ == "__main__":
    main()
