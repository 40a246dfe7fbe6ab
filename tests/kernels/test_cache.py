"""Compiled code on disk is used again, and never after a source it came from has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import knowable

CODE = """
import numpy as np
from knowable.kernels.entry import outer
print(float(outer(np.ones(3))), sum(outer.stats.cache_misses.values()))
"""
ENTRY = """
import numpy as np
from numba import njit
from knowable.kernels.helper import inner

@njit(cache=True)
def outer(x):
    return inner(x)
"""
HELPER = "from numba import njit\n\n@njit\ndef inner(x):\n    return x.sum() * {factor}\n"


def outcome(root: Path, cache: Path | None) -> tuple[float, int]:
    """What a fresh process computes, and how many kernels it compiled."""
    env = {k: v for k, v in os.environ.items() if k not in {"NUMBA_CACHE_DIR", "PYTHONPATH"}}
    env |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    if cache is not None:
        env["NUMBA_CACHE_DIR"] = str(cache)
    done = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
    value, misses = done.stdout.split()
    return float(value), int(misses)


@pytest.mark.parametrize("elsewhere", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_changed_helper_is_compiled_again_and_an_unchanged_one_is_not(tmp_path: Path, elsewhere: bool) -> None:
    root = tmp_path / "src"
    kernels = root / "knowable" / "kernels"
    kernels.mkdir(parents=True)
    (root / "knowable" / "__init__.py").touch()
    shutil.copy(Path(knowable.__file__).parent / "kernels" / "__init__.py", kernels)
    (kernels / "entry.py").write_text(ENTRY)
    (kernels / "helper.py").write_text(HELPER.format(factor=2.0))
    cache = tmp_path / "cache" if elsewhere else None
    assert outcome(root, cache) == (6.0, 1)
    assert outcome(root, cache) == (6.0, 0)  # a second process compiles nothing
    (kernels / "helper.py").write_text(HELPER.format(factor=5.0))  # the entry's own file stays as it was
    assert outcome(root, cache) == (15.0, 1)
    assert outcome(root, cache) == (15.0, 0)


def test_a_second_process_compiles_no_kernel_of_a_backtest() -> None:
    code = (
        "import sys, numpy as np, pandas as pd, knowable as kn\n"
        "class S(kn.Strategy):\n"
        "    n = kn.Int(2, 50)\n"
        "    def weights(self, m):\n"
        "        return (m.close > m.close.mean(self.n)) / m.n_assets\n"
        "f = pd.DataFrame({'A': 100 + np.sin(np.arange(300.0))}, index=pd.date_range('2020', periods=300))\n"
        "m = kn.Market.from_frames(close=f, open=f)\n"
        "kn.backtest(S(), m); kn.sweep(S, m, grid={'n': [3, 9]})\n"
        "from numba.core.dispatcher import Dispatcher\n"
        "found = {id(v): v for n, x in sys.modules.items() if n.startswith('knowable.kernels')"
        " for v in vars(x).values() if isinstance(v, Dispatcher)}\n"
        "used = [k for k in found.values() if k.stats.cache_hits or k.stats.cache_misses]\n"
        "print(len(used), sum(sum(k.stats.cache_misses.values()) for k in used))\n"
    )
    results = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        results.append([int(word) for word in done.stdout.split()])
    assert results[1][0] >= 4
    assert results[1][1] == 0
