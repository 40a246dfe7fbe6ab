"""How the benchmarks measure: the best of some runs, or each engine in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["best", "each_apart"]

ROOT = Path(__file__).parents[1]


def best(work: Callable[[], Any], repeats: int) -> float:
    """The best of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def each_apart(module: str, engines: Iterable[str], figure: str) -> list[dict[str, Any]]:
    """What ``python -m benchmarks.<module> <engine>`` prints as JSON, with `figure` as a multiple of ours."""
    rows = []
    for engine in engines:
        command = [sys.executable, "-m", f"benchmarks.{module}", engine]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    ours = next(row[figure] for row in rows if row["engine"] == "knowable")
    return [{**row, "times_knowable": row[figure] / ours} for row in rows]
