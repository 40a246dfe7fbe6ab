"""Starting: `import knowable`, the first backtest of a second process, one warm backtest, and what was compiled.

Each figure comes from processes of its own. Run as ``python -m benchmarks.startup``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

IMPORT = """
import time; began = time.perf_counter()
import knowable
print(time.perf_counter() - began)
"""

BACKTEST = """
import json, sys, time
began = time.perf_counter()
import numpy as np, pandas as pd
libraries = time.perf_counter() - began
import knowable as kn
from knowable.features import where

class Crossover(kn.Strategy):
    fast = kn.Int(2, 100, default=10)
    slow = kn.Int(5, 300, default=50)

    def weights(self, m):
        return where(m.close.mean(self.fast) > m.close.mean(self.slow), 1.0, 0.0)

prices = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 5000)))
frame = pd.DataFrame({"A": prices}, index=pd.date_range("2000-01-01", periods=5000))
market = kn.Market.from_frames(close=frame, open=frame)
began = time.perf_counter()
kn.backtest(Crossover(), market)
first = time.perf_counter() - began
warm = []
for k in range(30):
    strategy = Crossover(fast=10 + k, slow=60 + k)
    began = time.perf_counter()
    kn.backtest(strategy, market)
    warm.append(time.perf_counter() - began)
from numba.core.dispatcher import Dispatcher
kernels = [v for n, m in sys.modules.items() if n.startswith("knowable.kernels") for v in vars(m).values()]
kernels = {id(k): k for k in kernels if isinstance(k, Dispatcher)}.values()
compiled = sum(sum(k.stats.cache_misses.values()) for k in kernels)
print(json.dumps({"libraries": libraries, "first": first, "warm": sorted(warm)[15], "compiled": compiled}))
"""


def process(code: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def run(repeats: int = 5) -> list[dict[str, Any]]:
    """Each case with its figure and the bound it is held against; ratio = bound / ours."""
    process(IMPORT)
    imports = statistics.median(float(process(IMPORT)) for _ in range(repeats))
    process(BACKTEST)  # compiles, if this machine never has
    runs = [json.loads(process(BACKTEST)) for _ in range(3)]
    first = statistics.median(r["first"] for r in runs)
    warm = statistics.median(r["warm"] for r in runs)
    cases = [
        ("import knowable", imports * 1e3, 500.0, "bound"),
        ("one 5,000-bar backtest, warm", warm * 1e3, 10.0, "bound"),
        ("first backtest of a second process", first * 1e3, float("nan"), "no bound"),
        ("kernels compiled by a second process", float(max(r["compiled"] for r in runs)), 0.0, "bound"),
    ]
    return [
        {
            "case": case,
            "ours": ours,
            "peer": bound,
            "peer_name": name,
            "ratio": bound / ours if ours else float("nan"),
            "unit": "kernels" if "compiled" in case else "ms",
        }
        for case, ours, bound, name in cases
    ]


if __name__ == "__main__":
    for row in run():
        print(f"{row['case']:40s} {row['ours']:8.2f} {row['unit']}  ({row['peer_name']} {row['peer']:.0f})")
