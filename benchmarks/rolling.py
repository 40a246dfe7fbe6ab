"""Moving features on 5,000 x 500 with gaps: ours, pandas, polars, and the loop a person would write by hand.

By hand means one pass that adds what enters and subtracts what leaves, without compensation: the limit of one thread,
and wrong for good after a NaN or 1e300. Also the cost of compiling, the overhead of a function on 5,000 x 1, and of a
trial that the memo answers. Run as ``python -m benchmarks.rolling``; ratios are times of the peer over ours, measured
in one run on one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import pandas as pd
import polars as pl
from numba import njit

from knowable import features as f
from knowable.data.market import Market
from knowable.params import Int

N_BARS, N_ASSETS, WINDOW = 5_000, 500, 20


def prices(n_assets: int, gaps: float) -> np.ndarray:
    """Geometric random walks; a share `gaps` of the cells is missing."""
    rng = np.random.default_rng(0)
    x = 100 * np.exp(rng.normal(scale=0.02, size=(N_BARS, n_assets)).cumsum(axis=0))
    x[rng.random(x.shape) < gaps] = np.nan
    return x


def market_of(x: np.ndarray) -> Market:
    names = tuple(f"A{j}" for j in range(x.shape[1]))
    return Market.build(times=np.arange(1, N_BARS + 1) * 86_400 * 10**9, assets=names, panels={"close": x})


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


def best(call: Callable[[], Any], repeat: int) -> float:
    call()
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def panels(repeat: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each function and peer."""
    x = prices(N_ASSETS, 0.01)
    full = prices(N_ASSETS, 0.0)
    market, frame = market_of(x), pd.DataFrame(x)
    table = pl.DataFrame(full)
    out = np.empty_like(x)
    by_hand = {
        "mean": lambda: mean_by_hand(full, WINDOW, out),
        "std": lambda: std_by_hand(full, WINDOW, out),
        "rank": lambda: rank_by_hand(full, out),
    }
    rows: dict[str, dict[str, float]] = {}
    for name in ("mean", "std", "min", "max", "rank", "ewm"):
        feature = market.close.rank() if name == "rank" else getattr(market.close, name)(WINDOW)
        peers: dict[str, Callable[[], Any]] = {"knowable": feature.values}
        if name == "rank":
            peers["pandas"] = lambda: frame.rank(axis=1)
        elif name == "ewm":
            peers["pandas"] = lambda: frame.ewm(span=WINDOW).mean()
        else:
            peers["pandas"] = lambda name=name: getattr(frame.rolling(WINDOW), name)()
            peers["polars"] = lambda name=name: table.select(getattr(pl.all(), f"rolling_{name}")(WINDOW))
        if name in by_hand:
            peers["by hand"] = by_hand[name]
        peers["copy"] = lambda: np.copyto(out, x)
        rows[name] = {peer: best(call, repeat) * 1e3 for peer, call in peers.items()}
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
        made[f"evaluate {name}"] = best(lambda alone=alone: [alone.evaluate(market) for _ in range(1_000)], 3) * 1e3
    fresh = iter(range(2, 4_000))
    made["a trial of 2 new nodes"] = (
        best(lambda: [program.evaluate(market, {"n": next(fresh)}, memo) for _ in range(300)], 3) / 300e-6
    )
    made["a trial that is known"] = (
        best(lambda: [program.evaluate(market, {"n": 20}, memo) for _ in range(1_000)], 3) * 1e3
    )
    return made


COMPILE = """
import time, numpy as np
from knowable import features as f
from knowable.data.market import Market
m = Market.build(times=np.arange(1, 9) * 10**9, assets=("A", "B"), panels={"x": np.arange(16.0).reshape(8, 2)})
x = m.x
every = [x.mean(2), x.std(2), x.min(2), x.ewm(2), x.lag(2), x.rank(), x.zscore(), x.cross_sum(), x < 2, (x > 1) & x,
         f.maximum(x, 1), f.where(x, 1, 2), x ** 3, f.log(x), f.log1p(x), f.exp(x), f.isnan(x)]
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
    for name, times in panels(repeat).items():
        ours = times["knowable"]
        for peer, took in times.items():
            if peer != "knowable":
                row = {"case": f"{name} of 20 bars, {N_BARS:,} x 500", "ours": ours, "peer_name": peer, "peer": took}
                table.append({**row, "ratio": took / ours, "unit": "ms"})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    chosen = parser.parse_args()
    rows, small, compiled = panels(chosen.repeat), overheads(), compile_seconds()
    for name, times in rows.items():
        ours = times["knowable"]
        others = ", ".join(
            f"{peer} {took:.1f} ms ({took / ours:.1f}x)" for peer, took in times.items() if peer != "knowable"
        )
        print(f"{name:5s} {ours:7.1f} ms; {others}")
    for name, took in small.items():
        print(f"{name:28s} {took:8.1f} us")
    for name, took in compiled.items():
        print(f"{name:28s} {took:8.2f} s")
    if chosen.out:
        chosen.out.write_text(json.dumps({"milliseconds": rows, "microseconds": small, "seconds": compiled}, indent=2))


if __name__ == "__main__":
    main()
