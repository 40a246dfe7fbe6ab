"""The same tests with every index checked, and once more as plain Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMES = ("rolling", "cross_section", "cross_regression", "groups", "element", "clock", "arithmetic", "order", "paths")
NAMES += ("moments", "pairs", "expanding", "covariance", "risk_parity", "drift")
FILES = [str(HERE / f"test_{name}.py") for name in NAMES]


def run_again(tmp_path, chosen, **environment):
    """Tests whose names hold one of `chosen`, in a process of their own; a cache would hide the setting."""
    made = subprocess.run(
        # As plain Python numpy warns of inf - inf, which compiled code computes in silence, and the kernels expect.
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::RuntimeWarning"),
            *("-k", " or ".join(chosen), *FILES),
        ],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **environment},
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-3000:]


def test_every_kernel_holds_as_plain_python_where_numpy_checks_each_index(tmp_path):
    chosen = ["hand_table", "longer_than", "agrees_exactly", "agree_exactly", "counting", "logic", "lower"]
    chosen += ["where_chooses", "of_numpy"]
    run_again(tmp_path, chosen, NUMBA_DISABLE_JIT="1")


@pytest.mark.slow
def test_every_kernel_holds_compiled_with_bounds_checked(tmp_path):
    run_again(tmp_path, ["test"], NUMBA_BOUNDSCHECK="1", EXAMPLES="full")
