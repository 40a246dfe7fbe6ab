"""Walk-forward and optimize: the same for any number of workers, the same after SIGKILL, and honest about samples."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError, RunError, UnknownNameError
from knowable.experiments.run import Run
from knowable.experiments.spec import RunSpec
from knowable.runs import JOURNAL_NAME, Journal, list_runs

ASKED = {"train": 250, "test": 100, "trials": 16, "seed": 5}


def same(a: Run, b: Run) -> None:
    """Everything but names and times."""
    pd.testing.assert_frame_equal(a.trials, b.trials, check_exact=True)
    pd.testing.assert_frame_equal(a.folds, b.folds, check_exact=True)
    pd.testing.assert_series_equal(a.equity, b.equity, check_exact=True)
    pd.testing.assert_frame_equal(a.orders, b.orders, check_exact=True)
    assert a.best == b.best
    assert repr(a.doubts) == repr(b.doubts)


def test_any_number_of_workers_gives_the_same_run(strategies: ModuleType, market: kn.Market, tmp_path: Path) -> None:
    runs = [kn.walk_forward(strategies.Crossover, market, **ASKED, workers=n, runs_dir=tmp_path) for n in (0, 1, 2, 4)]
    assert len(runs[0].trials) == 4 * 16
    for other in runs[1:]:
        same(runs[0], other)


def test_the_seed_decides_the_trials(strategies: ModuleType, market: kn.Market, tmp_path: Path) -> None:
    first = kn.optimize(strategies.Crossover, market, trials=20, seed=1, runs_dir=tmp_path)
    again = kn.optimize(strategies.Crossover, market, trials=20, seed=1, runs_dir=tmp_path)
    other = kn.optimize(strategies.Crossover, market, trials=20, seed=2, runs_dir=tmp_path)
    same(first, again)
    assert first.trials["fast"].tolist() != other.trials["fast"].tolist()
    assert not first.trials[["fast", "slow"]].duplicated().any()


def test_the_best_trial_equals_the_backtest_of_its_parameters(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    run = kn.optimize(strategies.Crossover, market, trials=24, seed=3, start="2015-06-01", runs_dir=tmp_path)
    rerun = kn.backtest(strategies.Crossover(**run.best), market, start="2015-06-01")
    assert run.trials["sharpe"].max() == rerun.metrics["sharpe"]
    pd.testing.assert_series_equal(run.equity, rerun.equity, check_exact=True, check_names=False)
    assert "In sample" in run.page.subtitle


def test_folds_choose_on_the_past_and_trade_what_follows(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    run = kn.walk_forward(strategies.Crossover, market, **ASKED, runs_dir=tmp_path)
    assert run.equity.index[0] == market.index[250]
    assert len(run.equity) == 400
    for fold, row in zip(run.spec.folds, run.folds.itertuples(), strict=True):
        own = run.trials[run.trials["study"] == f"fold-{fold.number}"]
        best = own.loc[own["sharpe"].idxmax()]
        assert (row.fast, row.slow, row.in_sample) == (best["fast"], best["slow"], best["sharpe"])
        past = kn.backtest(
            strategies.Crossover(fast=row.fast, slow=row.slow),
            market.until(fold.train[1]),
            start=market.index[fold.train[0]],
        )
        assert past.metrics["sharpe"] == row.in_sample  # nothing after the past was used to score it


def test_later_prices_never_change_an_earlier_fold(strategies: ModuleType, market: kn.Market, tmp_path: Path) -> None:
    whole = kn.walk_forward(strategies.WithPandas, market, **ASKED, runs_dir=tmp_path)
    cut = kn.walk_forward(strategies.WithPandas, market.until(500), **ASKED, runs_dir=tmp_path)
    assert len(cut.folds) == 2
    pd.testing.assert_frame_equal(whole.folds.iloc[:2], cut.folds, check_exact=True)
    pd.testing.assert_series_equal(whole.equity.iloc[:200], cut.equity, check_exact=True, check_freq=False)


def test_a_leaky_strategy_looks_good_only_where_it_can_peek(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    report = kn.check(strategies.Peeks(), market)
    assert not report.ok


def test_a_run_loads_again_as_it_was_and_writes_its_page(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    run = kn.walk_forward(strategies.Crossover, market, **ASKED, runs_dir=tmp_path)
    back = kn.load_run(run.folder)
    same(run, back)
    assert str(back.summary()) == str(run.summary())
    assert back.metrics == pytest.approx(run.metrics, nan_ok=True)
    page = back.report(tmp_path / "page.html").read_text()
    assert "Crossover: walk-forward" in page
    assert [row.state for row in list_runs(tmp_path)] == ["finished"]
    resumed = kn.resume(run.folder)
    same(run, resumed)


def test_a_killed_driver_resumes_to_the_same_run(strategies: ModuleType, market: kn.Market, tmp_path: Path) -> None:
    undisturbed = kn.walk_forward(strategies.SlowCrossover, market, **ASKED, runs_dir=tmp_path / "a")
    market.save(tmp_path / "market")
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import knowable as kn
        from strategies_here import SlowCrossover
        if __name__ == "__main__":
            market = kn.Market.load({str(tmp_path / "market")!r})
            kn.walk_forward(SlowCrossover, market, **{ASKED!r}, workers=2, runs_dir={str(tmp_path / "b")!r})
    """
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(code))
    driver = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "KNOWABLE_TEST_NAP": "0.15"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        rows = list_runs(tmp_path / "b")
        if rows and rows[0].n_done >= 12:
            break
        time.sleep(0.1)
    assert driver.poll() is None, "the driver ended before it could be killed"
    driver.send_signal(signal.SIGKILL)
    driver.wait(30)

    (row,) = list_runs(tmp_path / "b")
    assert row.state == "interrupted"
    assert 12 <= row.n_done < 64
    folder = tmp_path / "b" / row.name
    with pytest.raises(RunError, match="is not finished"):
        kn.load_run(folder)
    with Journal.read(folder / JOURNAL_NAME) as journal:
        kept = {(r.study, r.number): r.outcome for r in journal.trials()}
    same(undisturbed, kn.resume(folder))
    with Journal.read(folder / JOURNAL_NAME) as journal:
        after = {(r.study, r.number): r.outcome for r in journal.trials()}
        assert not journal.conflicts()
    assert {name: after[name] for name in kept} == kept  # what was finished was not run again


def test_changed_code_is_refused_with_the_line(market: kn.Market, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    text = (Path(__file__).parent / "strategies_here.py").read_text()
    file.write_text(text)
    from knowable.experiments.strategies import find_strategy

    strategy = find_strategy(f"{file}:Crossover")
    run = kn.optimize(strategy, market, trials=8, runs_dir=tmp_path / "runs")
    unfinish(run.folder)
    file.write_text(text.replace("where(above, 1.0, 0.0)", "where(above, 0.9, 0.0)"))
    with pytest.raises(RunError) as caught:
        kn.resume(run.folder)
    assert "The code of Crossover has changed" in str(caught.value)
    assert "then: return where(above, 1.0, 0.0) / m.n_assets" in str(caught.value)
    file.write_text(text.replace("Looks at the values", "LOOKS at the values"))  # another class of the file
    same(run, kn.resume(run.folder))


def test_a_strategy_from_a_session_is_asked_for(market: kn.Market, tmp_path: Path) -> None:
    class Local(kn.Strategy):
        fast = kn.Int(2, 40)

        def weights(self, m):
            return (m.close > m.close.mean(self.fast)) / m.n_assets

    run = kn.optimize(Local, market, trials=10, workers=1, runs_dir=tmp_path)
    unfinish(run.folder)
    with pytest.raises(RunError, match=r"strategy=.*Local\)"):
        kn.resume(run.folder)
    same(run, kn.resume(run.folder, strategy=Local))


def unfinish(folder: Path) -> None:
    """Take back the note that a run has ended, as if it had been killed just before."""
    import sqlite3

    connection = sqlite3.connect(folder / JOURNAL_NAME)
    connection.execute("DELETE FROM meta WHERE name = 'finished'")
    connection.commit()
    connection.close()


def test_a_strategy_that_always_raises_stops_with_its_sentence(market: kn.Market, tmp_path: Path) -> None:
    class Broken(kn.Strategy):
        fast = kn.Int(2, 400)

        def weights(self, m):
            raise ValueError("no such column")

    with pytest.raises(RunError, match="ValueError: no such column"):
        kn.walk_forward(Broken, market, train=250, test=100, trials=30, runs_dir=tmp_path)


def test_a_benchmark_of_ones_own_is_aligned_without_looking_ahead(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    weekly = pd.Series(np.arange(1.0, 160.0), index=pd.date_range("2014-12-28", periods=159, freq="W"))
    run = kn.walk_forward(strategies.Crossover, market, **ASKED, benchmark=weekly, runs_dir=tmp_path)
    first = run.equity.index[0]
    assert run.benchmark.iloc[0] == run.equity.iloc[0]
    for moment in run.equity.index[[10, 200, 399]]:
        expected = weekly[:moment].iloc[-1] / weekly[:first].iloc[-1] * run.equity.iloc[0]
        assert run.benchmark[moment] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"objective": "sharp"}, UnknownNameError, "Unknown metric 'sharp' in objective. Did you mean 'sharpe'"),
        ({"trials": 0}, InputError, "`trials` must be a whole number >= 1"),
        ({"workers": -1}, InputError, "`workers` must be a whole number >= 0"),
        ({"sampler": "gb"}, UnknownNameError, "Unknown sampler 'gb'. Known: auto, gp"),
        ({"train": "9y"}, InputError, "0 folds"),
        ({"train": "3 years"}, InputError, "calendar length such as"),
        ({"fee_bps": 3}, UnknownNameError, "kn.walk_forward takes no `fee_bps`"),
    ],
)
def test_mistakes_are_told_before_a_folder_is_made(
    strategies: ModuleType, market: kn.Market, tmp_path: Path, arguments: dict, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        kn.walk_forward(
            strategies.Crossover, market, **{"test": "6mo", "train": "1y", **arguments}, runs_dir=tmp_path / "r"
        )
    assert not (tmp_path / "r").exists()


def test_a_spec_survives_its_journal(strategies: ModuleType, market: kn.Market, tmp_path: Path) -> None:
    run = kn.walk_forward(strategies.Crossover, market, **ASKED, runs_dir=tmp_path)
    with Journal.read(run.folder / JOURNAL_NAME) as journal:
        back = RunSpec.from_header(journal.header)
    assert back.header() == run.spec.header()
    assert back.key("fold-1", {"fast": 3, "slow": 20}) == run.spec.key("fold-1", {"fast": 3, "slow": 20})
    assert back.key("fold-1", {"fast": 3, "slow": 20}) != back.key("fold-2", {"fast": 3, "slow": 20})


def test_a_past_of_few_bars_still_ends_with_a_result(strategies: ModuleType, market: kn.Market, tmp_path: Path) -> None:
    run = kn.walk_forward(strategies.Crossover, market.until(120), train=20, test=20, trials=8, runs_dir=tmp_path)
    assert {d.name: d.shown for d in run.doubts}["Probability of overfitting"] == "not known"


def test_a_bankruptcy_in_an_early_fold_still_ends_with_a_result(tmp_path: Path) -> None:
    class Short(kn.Strategy):
        size = kn.Float(1.0, 2.0)

        def weights(self, m):
            return m.close * 0.0 - self.size

    prices = np.r_[np.linspace(100, 90, 160), np.full(140, 300.0)]
    frame = pd.DataFrame({"A": prices}, index=pd.bdate_range("2020-01-01", periods=300))
    made = kn.Market.from_frames(close=frame, open=frame)
    run = kn.walk_forward(Short, made, train=100, test=50, trials=8, max_leverage=2.0, runs_dir=tmp_path)
    assert len(run.folds) == 4
    assert any("iquidat" in warning for warning in run.warnings)


def test_a_schedule_that_is_a_property_gives_the_trial_itself(market: kn.Market, tmp_path: Path) -> None:
    class Varying(kn.Strategy):
        w = kn.Float(0.1, 0.25, default=0.2)

        @property
        def rebalance(self):
            return None if self.w > 0.15 else "month_end"

        def weights(self, m):
            return m.close * 0 + self.w

    run = kn.optimize(Varying, market, trials=8, runs_dir=tmp_path)
    assert run.metrics["sharpe"] == run.trials["sharpe"].max()
    assert run.metrics["sharpe"] == kn.backtest(Varying(**run.best), market).metrics["sharpe"]
    cut = kn.walk_forward(Varying, market, train=200, test=100, trials=4, runs_dir=tmp_path)
    assert np.isfinite(cut.metrics["sharpe"])


def test_choices_of_mixed_types_come_back_as_they_were(market: kn.Market, tmp_path: Path) -> None:
    class Mixed(kn.Strategy):
        window = kn.Choice(["auto", 10, 20, True])

        def weights(self, m):
            window = self.window if type(self.window) is int else 5
            return (m.close > m.close.mean(window)) / m.n_assets

    run = kn.walk_forward(Mixed, market, train=200, test=100, trials=4, runs_dir=tmp_path)
    same(run, kn.load_run(run.folder))
    assert {repr(value) for value in run.trials["window"]} == {"'auto'", "10", "20", "True"}


def test_out_of_sample_scores_each_choice_as_an_account_of_its_own(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    for objective in ("turnover", "max_drawdown", "sharpe"):
        run = kn.walk_forward(strategies.Crossover, market, **ASKED, objective=objective, runs_dir=tmp_path)
        for fold, row in zip(run.spec.folds, run.folds.itertuples(), strict=True):
            first, stop = fold.test
            chosen = strategies.Crossover(fast=row.fast, slow=row.slow)
            alone = kn.backtest(chosen, market.until(stop), start=market.index[first])
            assert row.out_of_sample == alone.metrics[objective]


def test_benchmark_dates_meet_sessions_and_times_meet_times() -> None:
    from knowable.experiments.benchmark import benchmark_path

    days = pd.date_range("2020-01-01", periods=10)
    close = pd.DataFrame({"A": np.arange(10.0, 20.0)}, index=days)
    plain = pd.Series(np.arange(10.0, 20.0), index=days)
    always = kn.Market.from_frames(close=close, calendar="24/7")
    expected = (100 * plain / 12).iloc[2:]
    for series in (plain, plain.set_axis((days + pd.Timedelta("1D")).tz_localize("UTC"))):
        found = benchmark_path(always, always.index[2:], 100.0, series)
        np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-14)


def test_equal_times_in_other_zones_are_other_markets() -> None:
    index = pd.date_range("2020-01-01", periods=40, freq="6h", tz="UTC")
    close = pd.DataFrame({"A": np.arange(1.0, 41)}, index=index)
    here, there = (kn.Market.from_frames(close=f) for f in (close, close.tz_convert("Asia/Tokyo")))
    assert here.fingerprint != there.fingerprint


def test_a_damaged_result_is_made_again_from_the_trials(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    run = kn.walk_forward(strategies.Crossover, market, **ASKED, runs_dir=tmp_path)
    (run.folder / "outcome" / "outcome.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        kn.load_run(run.folder)
    same(run, kn.resume(run.folder))
    same(run, kn.load_run(run.folder))


def test_a_damaged_saved_market_is_written_again(strategies: ModuleType, market: kn.Market, tmp_path: Path) -> None:
    run = kn.optimize(strategies.Crossover, market, trials=9, runs_dir=tmp_path)
    (file,) = (tmp_path / "markets").glob("*/panels-0.npy")
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(bytes(raw))
    same(run, kn.optimize(strategies.Crossover, market, trials=9, workers=1, runs_dir=tmp_path))


def test_a_few_failed_trials_are_told_and_all_failed_is_an_error(market: kn.Market, tmp_path: Path) -> None:
    class Fragile(kn.Strategy):
        n = kn.Int(2, 50)
        limit = 25

        def weights(self, m):
            if self.n > self.limit:
                raise ValueError("too long")
            return (m.close > m.close.mean(self.n)) / m.n_assets

    run = kn.optimize(Fragile, market, trials=9, runs_dir=tmp_path)
    assert any("trials failed. The first: Fragile(n=" in warning for warning in run.warnings)

    class Hopeless(Fragile):
        limit = 0

    with pytest.raises(RunError, match="All 9 trials failed.*\\n.*too long"):
        kn.optimize(Hopeless, market, trials=9, runs_dir=tmp_path)


@pytest.mark.parametrize(
    ("benchmark", "text"),
    [
        (7, "must be a Series of prices with a DatetimeIndex, but it is a int"),
        (pd.Series([1.0, 2.0]), "but it is a Series without one"),
        (pd.Series(["a", "b"], index=pd.date_range("2014-01-01", periods=2)), "must hold prices above 0"),
        (pd.Series([1.0, 2.0], index=pd.to_datetime(["2014-01-01"] * 2)), "has two values for 2014-01-01"),
        (pd.Series([1.0, 2.0], index=pd.date_range("2014-01-01", periods=2)), "`benchmark` ends 2014-01-02"),
        (pd.Series([1.0, 2.0], index=pd.date_range("2017-01-01", periods=2)), "has no value by"),
    ],
)
def test_a_benchmark_that_cannot_be_compared_is_refused_before_any_work(
    strategies: ModuleType, market: kn.Market, tmp_path: Path, benchmark: object, text: str
) -> None:
    with pytest.raises(InputError, match=text):
        kn.walk_forward(strategies.Crossover, market, **ASKED, benchmark=benchmark, runs_dir=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_search_is_compared_with_an_asset_or_another_result(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    asset = market.assets[0]
    run = kn.optimize(strategies.Crossover, market, trials=9, benchmark=asset, runs_dir=tmp_path)
    close = pd.Series(market.final["close"][:, 0], market.index).ffill().reindex(run.equity.index)
    np.testing.assert_allclose(run.benchmark / run.benchmark.iloc[0], close / close.iloc[0], rtol=1e-12)
    same(run, kn.load_run(run.folder))
    other = kn.backtest(strategies.Crossover(), market)
    run = kn.optimize(strategies.Crossover, market, trials=9, benchmark=other, runs_dir=tmp_path)
    equity = other.equity.reindex(run.equity.index)
    np.testing.assert_allclose(run.benchmark / run.benchmark.iloc[0], equity / equity.iloc[0], rtol=1e-12)


def test_any_python_name_makes_a_run_and_a_file_is_no_runs_folder(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    named = type("Стратегия", (strategies.Crossover,), {"__module__": strategies.__name__})
    assert "strategy-optimize" in kn.optimize(named, market, trials=9, runs_dir=tmp_path / "r").name
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="`runs_dir` must be a folder"):
        kn.optimize(strategies.Crossover, market, trials=9, runs_dir=tmp_path / "file")


def test_a_strategy_of_chance_carries_a_warning(market: kn.Market, tmp_path: Path) -> None:
    class Chance(kn.Strategy):
        n = kn.Int(2, 500)

        def weights(self, m):
            return np.random.rand(*m.shape) / m.n_assets  # noqa: NPY002 - the global state is the point

    with pytest.warns(UserWarning, match="not deterministic"):
        run = kn.optimize(Chance, market, trials=30, runs_dir=tmp_path)
    assert any("not deterministic" in warning for warning in run.warnings)
