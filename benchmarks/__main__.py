"""The benchmark table: every case in a process of its own, ours beside peers and beside a hand-written limit.

``python -m benchmarks`` runs all, ``python -m benchmarks crossover asof`` some. The table is printed, and kept with the
machine's description in ``benchmarks/results/``. Nothing is asserted: machines are shared and noisy; read the ratios.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ALL = (
    "startup",
    "crossover",
    "rebalance",
    "asof",
    "storage",
    "rolling",
    "cross",
    "search",
    "tail",
    "alphas",
    "signals",
    "orders",
    "scale",
    "portfolio",
    "results_io",
)
LIBRARIES = ("knowable", "numpy", "numba", "pandas", "polars", "vectorbt", "backtesting", "bt")
IF_INSTALLED = ("numbagg", "bottleneck")


def main() -> int:
    """Run the named benchmarks, print the table and keep it."""
    chosen = sys.argv[1:] or list(ALL)
    unknown = [name for name in chosen if name not in ALL]
    if unknown:
        print(f"Unknown benchmark {unknown[0]!r}; there are {', '.join(ALL)}.")
        return 2
    tables: dict[str, list[dict[str, Any]]] = {}
    for name in chosen:
        began = time.perf_counter()
        code = f"import json, benchmarks.{name} as b; print('\\n@@' + json.dumps(b.run(), default=float))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent, check=False
        )
        if done.returncode:
            print(f"{name} failed:\n{done.stderr[-2000:]}")
            return 1
        tables[name] = json.loads(done.stdout.rsplit("@@", 1)[1])
        print(f"\n{name} ({time.perf_counter() - began:.0f} s)")
        for row in tables[name]:
            print(f"  {line(row)}")
        keep(tables)
    return 0


def line(row: dict[str, Any]) -> str:
    """One case as a line of the table."""
    unit = row.get("unit", "s")
    text = (
        f"{row['case']:<44.44s} ours {number(row['ours'])} {unit:<7s} {row['peer_name']:<30.30s} {number(row['peer'])}"
    )
    ratio = row.get("ratio")
    if ratio is not None and ratio == ratio:
        text += f"   {ratio:8.2f} x"
    note = row.get("note")
    return f"{text}   {note}" if note else text


def number(value: float | None) -> str:
    """A figure in ten characters."""
    return f"{'-':>10s}" if value is None or value != value else f"{value:10.4g}"


def keep(tables: dict[str, list[dict[str, Any]]]) -> None:
    """Write the table as JSON, beside what it was measured on."""
    target = HERE / "results"
    target.mkdir(exist_ok=True)
    file = target / "latest.json"
    known = json.loads(file.read_text(encoding="utf-8"))["tables"] if file.exists() else {}
    page = {
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "machine": platform.machine()},
        "python": platform.python_version(),
        "versions": {name: version(name) for name in (*LIBRARIES, *filter(find_spec, IF_INSTALLED))},
        "tables": {**known, **tables},
    }
    file.write_text(json.dumps(page, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
