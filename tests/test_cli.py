"""The command line, as a user types it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.cli import COSTS, main

STRATEGY = """
import knowable as kn
from knowable.features import where

class Trend(kn.Strategy):
    window = kn.Int(2, 40, default=10)

    def weights(self, m):
        return where(m.close > m.close.mean(self.window), 1.0, 0.0) / m.n_assets
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a strategy and a file of prices, two of whose rows are bad."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trend.py").write_text(STRATEGY)
    rng = np.random.default_rng(3)
    days = pd.bdate_range("2018-01-01", periods=520)
    rows = []
    for name in ("AAA", "BBB"):
        close = 50 * np.exp(np.cumsum(rng.normal(0.0005, 0.01, len(days))))
        rows.append(pd.DataFrame({"symbol": name, "date": days.strftime("%Y-%m-%d"), "open": close, "close": close}))
    table = pd.concat(rows).astype({"open": object, "close": object})
    table.iloc[5, 3] = "-3.0"
    table.iloc[9, 3] = "n/a"
    table.to_csv(tmp_path / "prices.csv", index=False)
    return tmp_path


def run(*arguments: str) -> int:
    return main(list(arguments))


INGEST = ["ingest", "bars", "prices.csv", "--store", "s", "--kind", "bars", "--calendar", "24/7", "--known-lag", "0s"]
INGEST += ["--column", "symbol=entity", "--column", "date=event_time", "--partial"]
DATA = ["--store", "s", "--fill", "next_close"]


def test_from_a_file_of_prices_to_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*INGEST) == 0
    assert "1,038 rows accepted into 'bars'" in capsys.readouterr().out
    assert run(*INGEST) == 0
    assert "nothing changed" in capsys.readouterr().out

    assert run("read", "bars", "--store", "s", "--entity", "AAA", "--last", "2", "--json") == 0
    assert [row["entity"] for row in json.loads(capsys.readouterr().out)] == ["AAA", "AAA"]

    assert run("backtest", "trend.py:Trend", *DATA, "--set", "window=5", "--fee-bps", "10", "--report", "one.html") == 0
    assert "Trend(window=5)" in capsys.readouterr().out
    assert (here / "one.html").stat().st_size > 1_000_000

    assert run("sweep", "trend.py", *DATA, "--grid", "window=2:40:2", "--out", "all.csv", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == len(pd.read_csv(here / "all.csv")) == 20

    search = ["trend.py:Trend", *DATA, "--trials", "9", "--seed", "3"]
    assert run("walk-forward", *search, "--train", "6mo", "--test", "3mo", "--report", "wf.html", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_trials"] == 9 * len(found["folds"])
    assert (here / "wf.html").exists()

    assert run("runs") == 0
    assert found["run"] in capsys.readouterr().out
    assert run("resume", "latest") == 0
    assert "nothing is left to do" in capsys.readouterr().out
    assert run("report", found["run"], "--out", "again.html") == 0
    assert (here / "again.html").exists()

    assert run("optimize", *search, "--benchmark", "bars:BBB") == 0
    assert "9 trials" in capsys.readouterr().out
    assert run("check", "trend.py:Trend", "--store", "s") == 0
    assert "no look-ahead found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["backtest", "trend.py:Tred", *DATA], "Unknown strategy 'Tred' in trend.py. Did you mean 'Trend'?"),
        (["backtest", "trnd.py:Trend", *DATA], "There is no file trnd.py. ./ has trend.py."),
        (
            ["backtest", "trend.py", *DATA, "--set", "windw=3"],
            "Unknown parameter 'windw' in Trend. Did you mean 'window'?",
        ),
        (["backtest", "trend.py", *DATA, "--set", "window=wide"], "`window` must be a whole number in [2, 40]"),
        (["backtest", "trend.py", *DATA, "--set", "window"], "--set takes NAME=VALUE, but 'window' came."),
        (["backtest", "trend.py", *DATA, "--dataset", "bar"], "Unknown dataset 'bar'"),
        (["backtest", "trend.py", "--store", "nowhere"], "There is no store in nowhere"),
        (["ingest", "bars", "nothing.csv", "--store", "s"], "There is no file nothing.csv."),
        (["ingest", "other", "prices.csv", "--store", "s"], "say what it is: --kind bars or --kind facts"),
        (["resume", "../etc"], "Unknown run 'etc'"),
        (["resume", "no-such-run"], "Unknown run 'no-such-run'"),
        (["sweep", "trend.py", *DATA, "--grid", "window=a:b"], "first:last[:step] is for whole numbers"),
    ],
)
def test_bad_input_exits_with_two_and_says_why(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], text: str
) -> None:
    run(*INGEST)
    capsys.readouterr()
    assert run(*arguments) == 2
    shown = capsys.readouterr().err
    assert text in shown
    assert shown.startswith("knowable: ")
    assert "Traceback" not in shown


def test_the_installed_command_answers_help_quickly_and_lists_the_words() -> None:
    shown = subprocess.run([sys.executable, "-m", "knowable.cli", "--help"], capture_output=True, text=True, check=True)
    for word in (
        "ingest",
        "read",
        "backtest",
        "sweep",
        "optimize",
        "walk-forward",
        "runs",
        "resume",
        "report",
        "check",
    ):
        assert word in shown.stdout


def test_every_cost_has_its_flag() -> None:
    assert tuple(field.name for field in dataclasses.fields(kn.Costs)) == COSTS


def test_a_pipe_that_closes_early_is_no_error(here: Path) -> None:
    command = f"{sys.executable} -m knowable.cli --help | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_a_corrected_ingest_replaces_an_empty_dataset(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["ingest", "bars", "prices.csv", "--store", "s", "--kind", "bars", "--currency", "USD"]
    assert run(*wrong) == 2
    assert run(*INGEST) == 0
    assert run(*INGEST[:6], "bars", "--calendar", "XNYS", "--known-lag", "0s") == 1  # another schema under stored data
    assert "with another schema" in capsys.readouterr().err


def test_an_exported_table_holds_no_formula(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = STRATEGY.replace("kn.Int(2, 40, default=10)", "kn.Choice(['=1+1', '@x'])").replace("self.window", "5")
    (here / "trend.py").write_text(text)
    assert run(*INGEST) == 0
    assert run("sweep", "trend.py:Trend", *DATA, "--grid", "window==1+1,@x", "--out", "all.csv") == 0
    assert pd.read_csv(here / "all.csv")["window"].tolist() == ["'=1+1", "'@x"]


def test_a_snapshot_is_read_by_its_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*INGEST) == 0
    kn.Store("s").snapshot("held")
    capsys.readouterr()
    assert run("read", "bars", "--store", "s", "--version", "99") == 2
    assert "has no version 99; it has 0 to 1" in capsys.readouterr().err
    for words in (["read", "bars", "--last", "1"], ["quality", "bars"]):
        said = [run(*words, "--store", "s", "--json", "--version", version) for version in ("1", "held", "hold")]
        assert said == [0, 0, 2]
        told = capsys.readouterr()
        half = len(told.out) // 2
        assert told.out[:half] == told.out[half:]
        assert "Unknown snapshot 'hold'. Did you mean 'held'?" in told.err


def test_a_store_is_kept_in_order_from_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ingest", "bars", "prices.csv", "--store", "fresh") == 2
    assert not (here / "fresh").exists(), "a refused command leaves nothing behind"
    assert run(*INGEST) == 0
    more = pd.DataFrame({"symbol": "CCC", "date": ["2018-01-01", "2018-01-02"], "open": 1.0, "close": 1.0})
    more.to_csv("more.csv", index=False)
    columns = ["--column", "symbol=entity", "--column", "date=event_time"]
    assert run("ingest", "bars", "more.csv", "--store", "s", "--known-lag", "0s", *columns) == 0
    assert run("snapshot", "q1", "--store", "s", "--note", "before the split") == 0
    capsys.readouterr()
    assert run("snapshot", "--store", "s", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["versions"], found["note"]) == ("q1", {"bars": 2}, "before the split")
    assert run("compact", "bars", "--store", "s", "--json") == 0
    assert json.loads(capsys.readouterr().out)["files_before"] == 2
    assert run("retain", "bars", "--store", "s", "--keep", "1", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["kept"] == [2, 3], "a snapshot holds on to its version"
    assert run("retain", "bars", "--store", "s", "--keep", "soon") == 2


def test_a_universe_is_asked_for_by_its_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*INGEST) == 0
    capsys.readouterr()
    assert run("backtest", "trend.py:Trend", *DATA, "--universe", "largest:some") == 2
    assert "whole number of names, but it is 'largest:some'" in capsys.readouterr().err
    assert run("backtest", "trend.py:Trend", *DATA, "--universe", "member") == 2
    assert "Unknown dataset 'member'" in capsys.readouterr().err
    store = kn.Store("s")
    store.create("members", kn.Schema.intervals(keys=("index",)))
    rows = {"index": "X", "entity": "BBB", "event_time": "2018-01-01", "known_time": "2017-12-01", "end": None}
    store.append("members", pd.DataFrame([rows]), tz="UTC")
    told = []
    for words in (["--universe", "members:X"], ["--entity", "BBB"], []):
        assert run("backtest", "trend.py:Trend", *DATA, *words, "--json") == 0
        told.append(json.loads(capsys.readouterr().out)["metrics"])
    assert told[0] == told[1], "the only member there ever was is the only asset"
    assert told[0] != told[2]


PEEKS = """
import knowable as kn

class Peeks(kn.Strategy):
    share = kn.Float(0.1, 0.5, default=0.3)

    def weights(self, m):
        close = m.close.frame()
        return (close.shift(-1) > close) * self.share
"""


def test_a_search_of_what_looks_ahead_is_refused_unless_told_otherwise(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "peeks.py").write_text(PEEKS)
    run(*INGEST)
    capsys.readouterr()
    grid = ["sweep", "peeks.py", *DATA, "--grid", "share=0.1,0.2"]
    assert run(*grid) == 1
    assert "look-ahead found in 'Peeks(share=0.1)'" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="look-ahead found"):
        assert run(*grid, "--check", "warn") == 0
    assert run(*grid, "--check", "off") == 0
    assert run("optimize", "peeks.py", *DATA, "--trials", "4", "--check", "off") == 0
    assert "Look-ahead: not looked for." in capsys.readouterr().out
    assert run("check", "peeks.py:Peeks", "--store", "s", "--cuts", "3", "--fill", "close", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert {finding["kind"] for finding in found["findings"]} == {"look-ahead"}
    assert found["suspicions"] == []


BY_BAR = """
import knowable as kn

class Stops(kn.Strategy):
    fall = kn.Float(0.02, 0.3, default=0.1)
    peaks = {}

    def features(self, m):
        return {"calm": m.close.mean(20)}

    def on_bar(self, bar, account):
        held = account.positions
        for column, name in enumerate(bar.assets):
            price = bar.close[column]
            self.peaks[name] = max(self.peaks.get(name, price), price) if held[column] > 0 else price
            if price < (1 - self.fall) * self.peaks[name]:
                account.target_shares(name, 0)
            elif held[column] == 0 and price > bar.calm[column]:
                account.order(name, int(0.2 * account.equity / price))

class Fails(kn.Strategy):
    def on_bar(self, bar, account):
        account.target("AAPL", 0.5)

class Knows(Stops):
    def features(self, m):
        return {"calm": m.close.frame().shift(-1)}
"""


def test_a_strategy_that_decides_bar_by_bar_is_run_swept_and_checked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "bars.py").write_text(BY_BAR)
    run(*INGEST)
    capsys.readouterr()

    assert run("backtest", "bars.py:Stops", *DATA, "--set", "fall=0.05", "--json") == 0
    one = json.loads(capsys.readouterr().out)
    assert one["metrics"]["n_trades"] > 0

    assert run("sweep", "bars.py:Stops", *DATA, "--grid", "fall=0.05,0.1", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["fall"] for row in rows} == {0.05, 0.1}
    assert next(row for row in rows if row["fall"] == 0.05)["sharpe"] == one["metrics"]["sharpe"]

    assert run("check", "bars.py:Stops", "--store", "s", "--cuts", "3") == 0
    assert "no look-ahead found in 'Stops(fall=0.1)'" in capsys.readouterr().out

    assert run("check", "bars.py:Knows", "--store", "s", "--cuts", "3") == 1
    assert "look-ahead" in capsys.readouterr().out
    assert run("sweep", "bars.py:Knows", *DATA, "--grid", "fall=0.05,0.1") == 1
    assert "look-ahead found in 'Knows(fall=0.05)'" in capsys.readouterr().err

    assert run("backtest", "bars.py:Fails", *DATA) == 2
    said = capsys.readouterr().err
    assert "Unknown asset 'AAPL' in the market. Known: AAA, BBB." in said
    assert 'bars.py, line 23: `account.target("AAPL", 0.5)`' in said
    assert "Traceback" not in said
