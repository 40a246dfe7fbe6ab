"""How the benchmarks measure: the best of some runs, each engine in a process of its own; and a row of their table."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["alone", "best", "each_apart", "main", "measured", "table_row"]

ROOT = Path(__file__).parents[1]


def best(work: Callable[[], Any], repeats: int) -> float:
    """The best of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def measured(
    engine: str, work: Callable[[], Any], repeats: int, *, first: Callable[[], Any] | None = None
) -> tuple[dict[str, Any], Any]:
    """What an engine takes in this process, and what its last run came to.

    Args:
        engine: name.
        work: what is timed: the machines are shared, so the best of some.
        repeats: how many.
        first: the call before, which may compile; None: `work` itself.
    """
    came = None

    def once() -> None:
        nonlocal came
        came = work()

    first_seconds = best(first or work, 1)
    seconds = best(once, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"engine": engine, "seconds": seconds, "first_call_seconds": first_seconds, "peak_mb": peak}, came


def alone(module: str, engine: str) -> dict[str, Any]:
    """What ``python -m benchmarks.<module> <engine>`` prints as JSON."""
    command = [sys.executable, "-m", f"benchmarks.{module}", engine]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def each_apart(module: str, engines: Iterable[str], figure: str) -> list[dict[str, Any]]:
    """What each engine takes in a process of its own, with `figure` as a multiple of ours."""
    rows = [alone(module, engine) for engine in engines]
    ours = next(each[figure] for each in rows if each["engine"] == "knowable")
    return [{**each, "times_knowable": each[figure] / ours} for each in rows]


def table_row(
    case: str, ours: float, peer: float | None, peer_name: str, unit: str = "s", note: str = ""
) -> dict[str, Any]:
    """A line of the table: ours, a peer's, and how many times ours that is."""
    ratio = None if peer is None else peer / ours
    return {
        "case": case,
        "ours": ours,
        "peer": peer,
        "peer_name": peer_name,
        "ratio": ratio,
        "unit": unit,
        "note": note,
    }


def main(measure: Callable[[str], dict[str, Any]], show: Callable[[], Any]) -> None:
    """Of a module with engines: one of them as JSON, or without a name the table."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        show()
