"""Which code a result came from, and how it is found again."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import knowable as kn
from knowable.errors import StrategyError
from knowable.experiments.code import load_strategy, pin_strategy
from knowable.experiments.strategies import find_strategy

FILE = """
import numpy as np
import knowable as kn
{extra}
SCALE = {scale}

def helper(m):
    return SCALE / m.n_assets

def unrelated():
    return {unrelated}

if True:
    class Mine(kn.Strategy):
        n = kn.Int(2, 50)

        def weights(self, m):
            return (m.close > m.close.mean(self.n)) * helper(m)

raise SystemExit("the script's own calls run here")
"""


def fingerprint(file: Path, **parts: object) -> str:
    file.write_text(FILE.format(**{"extra": "", "scale": 1.0, "unrelated": 1, **parts}))
    pin = {"qualname": "Mine", "module": "m", "file": str(file)}
    from knowable.experiments.code import reachable_module

    strategy = reachable_module(file, "Mine").Mine
    assert pin["file"] == pin_strategy(strategy).file
    return pin_strategy(strategy).fingerprint


def test_a_pin_follows_all_that_a_class_can_reach_in_its_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    first = fingerprint(file)
    assert fingerprint(file) == first
    assert fingerprint(file, unrelated=2) == first
    assert fingerprint(file, extra="import pandas as pd") == first
    assert fingerprint(file, scale=0.5) != first


def test_loading_runs_only_what_the_class_needs(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE.format(extra="from beside import K", scale=1.0, unrelated=1))
    (tmp_path / "beside.py").write_text("K = 1")
    strategy = find_strategy(f"{file}:Mine")
    assert load_strategy(pin_strategy(strategy).plain(), where="x").__name__ == "Mine"
    with pytest.raises(SystemExit):
        find_strategy(str(file))  # without a name the whole file has to run


def test_a_killed_script_resumes_without_running_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, pathlib, sys, time
            import numpy as np, pandas as pd
            import knowable as kn

            print("TOP LEVEL", flush=True)
            nap = float(os.environ.get("NAP", "0"))

            class Mine(kn.Strategy):
                n = kn.Int(2, 50)

                def weights(self, m):
                    time.sleep(nap)
                    return (m.close.frame() > m.close.mean(self.n).frame()) / m.n_assets

            frame = pd.DataFrame({"A": 100 + np.sin(np.arange(300.0))}, index=pd.date_range("2020", periods=300))
            market = kn.Market.from_frames(close=frame, open=frame)
            if len(sys.argv) > 1:
                print(len(kn.resume(sys.argv[1]).trials), flush=True)
            else:
                kn.optimize(Mine, market, trials=12, seed=1, runs_dir="runs")
            """
        )
    )
    driver = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, env={**os.environ, "NAP": "0.1"})
    from knowable.runs import list_runs

    while driver.poll() is None and not any(row.n_done >= 4 for row in list_runs(tmp_path / "runs")):
        time.sleep(0.02)  # asking all the time takes the core the script needs
    driver.kill()
    driver.wait()
    (row,) = list_runs(tmp_path / "runs")
    assert row.state == "interrupted"
    folder = str(tmp_path / "runs" / row.name)
    run = kn.resume(folder)
    assert len(run.trials) == 12
    again = subprocess.run(
        [sys.executable, str(script), folder], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert again.stdout.split() == ["TOP", "LEVEL", "12"]
    assert len(list_runs(tmp_path / "runs")) == 1


@pytest.mark.slow
def test_a_class_without_a_file_is_pinned_with_what_it_names() -> None:
    template = """
import knowable as kn
LEVEL = {level}
def helper(m): return LEVEL / m.n_assets
class Base(kn.Strategy):
    def scale(self, m): return {base}
class Mine(Base):
    n = kn.Int(2, 50)
    @staticmethod
    def kinds(m): return m.calendar in {{"XNYS", "XLON", "XPAR", "24/7"}}
    @property
    def half(self): return self.n // 2
    def weights(self, m): return (m.close > m.close.mean(self.n)) * helper(m) * self.scale(m)
from knowable.experiments.code import pin_strategy
print(pin_strategy(Mine).fingerprint)
"""

    def printed(seed: str, **parts: object) -> str:
        code = template.format(**{"level": 1.0, "base": 1.0, **parts})
        env = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout

    first = printed("1")
    assert printed("2") == first
    assert printed("1", level=0.5) != first
    assert printed("1", base=0.5) != first


def test_a_strategy_that_exits_fails_its_trial_and_not_the_program(tmp_path: Path, market: kn.Market) -> None:
    class Exits(kn.Strategy):
        n = kn.Int(2, 50)

        def weights(self, m):
            if self.n > 25:
                sys.exit(3)
            return (m.close > m.close.mean(self.n)) / m.n_assets

    runs = [kn.optimize(Exits, market, trials=12, seed=2, workers=n, runs_dir=tmp_path) for n in (0, 1)]
    for run in runs:
        failed = run.trials["error"].notna()
        assert (failed == (run.trials["n"] > 25)).all()
        assert 0 < failed.sum() < 12
        assert "SystemExit: 3" in run.warnings[0] or any("SystemExit: 3" in w for w in run.warnings)


@pytest.mark.slow
def test_a_trial_over_its_time_limit_fails_and_the_rest_go_on(tmp_path: Path, market: kn.Market) -> None:
    class Loops(kn.Strategy):
        n = kn.Int(1, 12)

        def weights(self, m):
            while self.n == 3:
                pass
            return (m.close > m.close.mean(self.n)) / m.n_assets

    run = kn.optimize(Loops, market, trials=12, time_limit=4.0, workers=1, runs_dir=tmp_path)
    assert run.trials.loc[run.trials["error"].notna(), "n"].tolist() == [3]


def test_importing_a_broken_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import knowable as kn\nclass A(kn.Strategy):\n    x = 1 / 0\n")
    with pytest.raises(StrategyError, match=r"Importing broken.py raised ZeroDivisionError"):
        find_strategy(f"{tmp_path / 'broken.py'}:A")
