"""The 101 published formulaic alphas on the shared US data: ours from `alphas.txt`, pandas and polars doing the same.

Ours is timed in a process of its own, cold (kernels compiled) and from the cache on disk, then warm: with a memo, so
that what formulas share is computed once, and without, on one thread and on two. Peers compute the inputs they share
(returns, vwap, each adv) once. Sectors, industries, sub-industries and market capitalisation are not in the data: they
are made up, equal for all. Run as ``python -m benchmarks alphas``, or ``python -m benchmarks.alphas`` for more lines.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.features import Feature, Memo, Program

__all__ = ["FILE", "SHARED_DATA", "bars", "formulas", "made_up", "market_of", "run", "texts"]

FILE = Path(__file__).parent / "alphas.txt"
ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("KNOWABLE_SHARED", ROOT.parent / "shared")) / "data" / "us-equities-2015-2017"
_PRICES = ("open", "high", "low", "close")
_MEMO_BYTES = 2_000_000_000


def texts(lines: Iterable[str] | None = None) -> dict[int, str]:
    """Number of the alpha -> its text, complete: the parts all share, then the formula."""
    parts: list[str] = []
    found: dict[int, str] = {}
    joined: list[str] = []
    for line in FILE.read_text(encoding="utf-8").splitlines() if lines is None else lines:
        if line.startswith(" "):
            joined[-1] += " " + line.strip()
        elif line and not line.startswith("#"):
            joined.append(line)
    for line in joined:
        if line.startswith("alpha"):
            name, _, formula = line.partition(":")
            found[int(name.removeprefix("alpha"))] = "\n".join([*parts, formula.strip()])
        else:
            parts.append(line)
    return found


def formulas(market: Market) -> dict[int, Feature]:
    """Number of the alpha -> the feature on a market that has all fields."""
    return {number: market.expression(text) for number, text in texts().items()}


def bars(folder: Path = SHARED_DATA) -> tuple[pd.DatetimeIndex, tuple[str, ...], dict[str, np.ndarray]]:
    """Days, names and panels of the shared bars, each as captured last; rows that are no bar are left out.

    Of 888 symbols one is no symbol, and on seven holidays a few names have a bar by mistake: 887 x 513 are left.

    The benchmark is of arithmetic: what was known when, which the store keeps, plays no part in it.
    """
    raw = pd.read_parquet(folder / "prices.parquet", columns=["symbol", "date", *_PRICES, "volume", "captured_at"])
    raw = raw[(raw[list(_PRICES)] > 0).all(axis=1) & (raw["date"] != "date")]
    raw = raw.sort_values("captured_at", kind="stable").drop_duplicates(["symbol", "date"], keep="last")
    wide = raw.set_index(["date", "symbol"])[[*_PRICES, "volume"]].unstack().astype(np.float64)
    wide = wide[wide["close"].notna().sum(axis=1) > 100]
    days, names = pd.DatetimeIndex(wide.index), tuple(wide["close"].columns)
    return days, names, {name: np.ascontiguousarray(wide[name].to_numpy()) for name in (*_PRICES, "volume")}


def made_up(shape: tuple[int, int], close: np.ndarray) -> dict[str, np.ndarray]:
    """Synthetic classification, 11 sectors of 3 industries of 2 sub-industries, and capitalisation: not of the data."""
    rng = np.random.default_rng(101)
    leaf = rng.integers(66, size=shape[1]).astype(float)
    shares = rng.lognormal(18.0, 1.0, size=shape[1])
    levels = {"sector": leaf // 6, "industry": leaf // 2, "subindustry": leaf}
    return {name: np.tile(x, (shape[0], 1)) for name, x in levels.items()} | {"cap": close * shares}


def market_of(days: pd.DatetimeIndex, names: tuple[str, ...], panels: dict[str, np.ndarray]) -> Market:
    """A market of plain arrays: day k ends at its date's midnight."""
    return Market.build(times=days.as_unit("ns").asi8, assets=names, panels=panels)


def shared_market() -> Market:
    """All shared bars, with made-up groups beside them."""
    days, names, panels = bars()
    return market_of(days, names, panels | made_up(panels["close"].shape, panels["close"]))


def evaluate_all(market: Market, *, shared: bool, n_threads: int = 1) -> float:
    """Seconds for all 101 from their text, each panel let go when the next is asked for."""
    began = time.perf_counter()
    memo = Memo(_MEMO_BYTES) if shared else None
    programs = [Program.of(feature) for feature in formulas(market).values()]
    if n_threads == 1:
        for program in programs:
            program.evaluate(market, memo=memo)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            for _ in pool.map(lambda program: program.evaluate(market, memo=memo).shape, programs):
                pass
    return time.perf_counter() - began


def peer_seconds(words: Callable[[], Any], numbers: Iterable[int] | None = None) -> dict[int, float]:
    """Seconds of each alpha of a peer; the inputs all share, made by `words`, are number 0."""
    from benchmarks.alphas_paper import paper

    began = time.perf_counter()
    table = paper(words())
    took = {0: time.perf_counter() - began}
    for number in table if numbers is None else numbers:
        began = time.perf_counter()
        table[number]()
        took[number] = time.perf_counter() - began
    return took


_FIRST_TIME = """
import time
from benchmarks.alphas import evaluate_all, shared_market
market = shared_market()
print(evaluate_all(market, shared=True))
"""


def first_time() -> dict[str, float]:
    """Seconds of a new process for all 101 without kernels in the cache on disk, and with them; data are there."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "NUMBA_CACHE_DIR": folder}
        took = []
        for _ in range(2):
            command = [sys.executable, "-c", _FIRST_TIME]
            done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
            took.append(float(done.stdout))
    return {"compiling": took[0], "from the cache": took[1]}


def measured() -> dict[str, Any]:
    """All figures, in seconds; `pandas` and `polars` are by number of the alpha."""
    from benchmarks import alphas_pandas, alphas_polars

    market = shared_market()
    panels = {name: market.panel(name) for name in market.panels}
    made: dict[str, Any] = {"shape": market.shape, "load": os.getloadavg()[0], **first_time()}
    evaluate_all(market, shared=True)  # compiled, and the memory is warm
    for name, shared in (("one memo", True), ("each alone", False)):
        for threads in (1, 2):
            made[f"{name}, {threads} thread{'s'[: threads - 1]}"] = min(
                evaluate_all(market, shared=shared, n_threads=threads) for _ in range(3)
            )
    made["pandas"] = peer_seconds(lambda: alphas_pandas.Words(panels))
    made["polars"] = peer_seconds(lambda: alphas_polars.Words(panels))
    return made


def run() -> list[dict[str, Any]]:
    """Rows for the common table: our seconds beside each other's, all in this run."""
    if not SHARED_DATA.is_dir():
        print(f"The shared data are not at {SHARED_DATA}; set KNOWABLE_SHARED.")
        return []
    made = measured()
    ours = made["one memo, 1 thread"]
    note = f"load {made['load']:.1f} on {os.cpu_count()} cores when it began"
    peers = {
        "pandas, all 101": sum(made["pandas"].values()),
        "polars, 1 thread, all 101": sum(made["polars"].values()),
        **{f"ours, {name}": made[name] for name in made if "thread" in name and made[name] != ours},
        "ours, first time, compiling": made["compiling"],
        "ours, new process, compiled": made["from the cache"],
    }
    case = f"101 alphas, {made['shape'][1]} x {made['shape'][0]}"
    return [
        {"case": case, "ours": ours, "peer_name": peer, "peer": took, "ratio": took / ours, "note": note}
        for peer, took in peers.items()
    ]


if __name__ == "__main__":
    for row in run():
        print(f"{row['case']}: ours {row['ours']:.2f} s, {row['peer_name']} {row['peer']:.2f} s, {row['ratio']:.1f} x")
