"""Every search looks for look-ahead before it begins, cheaply, and its record and its result say what was seen."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError, LookAheadError
from knowable.experiments import search
from knowable.experiments.run import Run
from knowable.runs import JOURNAL_NAME, Journal
from knowable.testing.leak_zoo import CLEAN, LEAKY
from knowable.testing.zoo.base import zoo_market
from knowable.validate.glance import glance


class PeeksByName(kn.Strategy):
    """Honest in its default way, leaky in another."""

    how = kn.Choice(["past", "future"])
    n = kn.Int(2, 9, default=3)

    def weights(self, m):
        close = m.close.frame()
        return (close.shift(-1 if self.how == "future" else 1) > close.rolling(self.n).mean()) / m.n_assets


class PeeksFarOut(kn.Strategy):
    """Leaks for large values only, where it earns most."""

    n = kn.Int(1, 40, default=3)

    def weights(self, m):
        close = m.close.frame()
        return ((close.shift(-1) if self.n > 20 else close.shift(1)) > close) / m.n_assets


class Chance(kn.Strategy):
    """Draws from the global random state."""

    n = kn.Int(2, 50, default=3)

    def weights(self, m):
        return np.random.rand(*m.shape) / m.n_assets  # noqa: NPY002 - the global state is the point


CALLS = itertools.count()  # an iterator, which a check cannot put back


class Counted(kn.Strategy):
    """Counts how often it was asked."""

    n = kn.Int(2, 50, default=3)

    def weights(self, m):
        next(CALLS)
        return np.full(m.shape, 0.1 / self.n)


def doubt(run: Run, name: str = "Look-ahead"):
    return next((each for each in run.doubts if each.name == name), None)


def test_a_search_of_what_looks_ahead_is_refused_before_any_work(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    asked = {"runs_dir": tmp_path / "runs", "trials": 9}
    for begin in (
        lambda: kn.sweep(strategies.Peeks, market, grid={"scale": [0.5, 1.0]}),
        lambda: kn.optimize(strategies.Peeks, market, **asked),
        lambda: kn.walk_forward(strategies.Peeks, market, train=250, test=100, **asked),
    ):
        with pytest.raises(LookAheadError) as caught:
            begin()
        text = str(caught.value)
        assert text.startswith("look-ahead found in 'Peeks(scale=")
        assert "`shift(-n)` reads later bars" in text
        assert text.splitlines()[-1].startswith("Found in a quick look before the search.")
        assert "check='warn'" in text
        assert len(text.splitlines()) <= 12
    assert not (tmp_path / "runs").exists()


def test_who_goes_on_is_warned_and_the_result_carries_the_leak(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="look-ahead found in 'Peeks"):
        table = kn.sweep(strategies.Peeks, market, grid={"scale": [0.5, 1.0]}, check="warn")
    assert table["error"].isna().all()
    assert table.attrs["check"]["kinds"] == ["look-ahead"]
    table.to_parquet(tmp_path / "table.parquet")  # what it carries is plain
    with pytest.warns(UserWarning, match="look-ahead found in 'Peeks"):
        run = kn.optimize(strategies.Peeks, market, trials=9, runs_dir=tmp_path, check="warn")
    assert doubt(run).shown == "found"
    assert doubt(run).level == "bad"
    assert doubt(run).sentence.startswith("look-ahead: ")
    assert doubt(kn.load_run(run.folder)) is not None
    assert "Look-ahead: found." in str(run.summary())


def test_nobody_looks_if_told_so_and_the_result_says_that(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    assert kn.sweep(strategies.Peeks, market, grid={"scale": [0.5]}, check=False).attrs["check"] is None
    run = kn.optimize(strategies.Peeks, market, trials=9, runs_dir=tmp_path, check=False)
    assert doubt(run).shown == "not looked for"
    for wrong in ("no", None, 1):
        with pytest.raises(InputError, match="`check` must be True, False or 'warn'"):
            kn.sweep(strategies.Peeks, market, grid={"scale": [0.5]}, check=wrong)


@pytest.mark.parametrize(("name", "shown"), [("Crossover", "impossible"), ("WithPandas", "none found")])
def test_an_honest_search_says_how_sure_it_is(
    strategies: ModuleType, market: kn.Market, tmp_path: Path, name: str, shown: str
) -> None:
    run = kn.optimize(getattr(strategies, name), market, trials=9, runs_dir=tmp_path)
    assert doubt(run).shown == shown
    assert doubt(run).level == "good"
    with Journal.read(run.folder / JOURNAL_NAME) as journal:
        kept = journal.header["check"]
    assert kept["ok"]
    assert kept["expression"] == (name == "Crossover")
    assert json.loads(json.dumps(kept)) == kept


def test_chance_is_seen_at_once_in_a_search_of_five(market: kn.Market, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="not deterministic, so its figures cannot be repeated"):
        run = kn.optimize(Chance, market, trials=5, runs_dir=tmp_path)
    assert doubt(run).sentence.startswith("random: A from row 0")
    with pytest.warns(UserWarning, match="not deterministic"):
        kn.sweep(Chance, market, grid={"n": [3]})


def test_other_options_of_a_choice_are_looked_at_too(market: kn.Market, tmp_path: Path) -> None:
    with pytest.raises(LookAheadError, match="how='future'"):
        kn.optimize(PeeksByName, market, trials=9, runs_dir=tmp_path)
    with pytest.raises(LookAheadError, match="how='future'"):
        kn.sweep(PeeksByName, market, grid={"how": ["past", "future"]})


def test_what_the_search_chose_is_looked_at_when_it_has_ended(market: kn.Market, tmp_path: Path) -> None:
    run = kn.optimize(PeeksFarOut, market, trials=12, seed=1, runs_dir=tmp_path)
    assert run.best["n"] > 20
    assert doubt(run).shown == "found"
    with Journal.read(run.folder / JOURNAL_NAME) as journal:
        assert journal.header["check"]["ok"]  # the defaults were honest


def test_a_resumed_run_does_not_look_again_before_it_goes_on(
    strategies: ModuleType, market: kn.Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    run = kn.optimize(strategies.WithPandas, market, trials=9, runs_dir=tmp_path)
    with sqlite3.connect(run.folder / JOURNAL_NAME) as connection:
        connection.execute("DELETE FROM meta WHERE name = 'finished'")
    connection.close()
    monkeypatch.setattr(search, "look_first", lambda *_, **__: pytest.fail("looked again"))
    assert doubt(kn.resume(run.folder)).sentence == doubt(run).sentence


def test_a_look_takes_few_runs_however_small_the_search(market: kn.Market) -> None:
    before = next(CALLS)
    seen = glance([Counted()], market, n_trials=1, seconds=0.0)
    assert seen.report.ok
    assert next(CALLS) - before - 1 == 3  # everything, another future, a shorter past
    before = next(CALLS)
    glance([Counted()], market, n_trials=10**9, seconds=60.0)
    assert next(CALLS) - before - 1 <= 12


def test_an_expression_costs_no_evaluation(strategies: ModuleType, market: kn.Market, monkeypatch) -> None:
    from knowable.features import Program

    monkeypatch.setattr(Program, "evaluate", lambda *_, **__: pytest.fail("evaluated"))
    seen = glance([strategies.Crossover()], market)
    assert seen.expression
    assert seen.report.ok


def test_an_expression_that_holds_a_figure_of_the_whole_sample_is_no_excuse(market: kn.Market) -> None:
    class Scaled(kn.Strategy):
        def weights(self, m):
            return m.close / float(m.panel("close").max()) / m.n_assets

    seen = glance([Scaled()], market)
    assert seen.refused
    assert not seen.expression


def test_a_strategy_that_fails_at_its_defaults_is_searched_and_the_doubt_says_so(
    market: kn.Market, tmp_path: Path
) -> None:
    class Picky(kn.Strategy):
        n = kn.Int(2, 50, default=2)

        def weights(self, m):
            if self.n < 10:
                raise ValueError("too short")
            return (m.close.frame() > m.close.mean(self.n).frame()) / m.n_assets

    run = kn.optimize(Picky, market, trials=9, runs_dir=tmp_path)
    assert doubt(run).shown == "none found"  # at what was chosen, for the defaults could not be looked at
    table = kn.sweep(Picky, market, grid={"n": [2, 3]})
    assert not table.attrs["check"]["looked"]
    assert "too short" in table.attrs["check"]["unseen"]


def test_a_look_past_the_time_limit_is_given_up(market: kn.Market, tmp_path: Path) -> None:
    class Sleeps(kn.Strategy):
        n = kn.Int(2, 50, default=2)

        def weights(self, m):
            while self.n == 2:
                pass
            return (m.close > m.close.mean(self.n)) / m.n_assets

    kn.sweep(Sleeps, market, trials=[{"n": 3}], check=False)  # compiled, which takes longer than the limit
    run = kn.optimize(Sleeps, market, trials=4, seed=3, sampler="random", time_limit=0.5, runs_dir=tmp_path)
    with Journal.read(run.folder / JOURNAL_NAME) as journal:
        assert journal.header["check"]["unseen"] == "a look took longer than the time limit of 0.5 s."


def test_suspicions_of_the_market_and_the_account_are_doubts(strategies: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    close = pd.DataFrame(50 * np.exp(np.cumsum(rng.normal(0, 0.01, (1_000, 25)), axis=0)))
    close = close.set_axis(pd.bdate_range("2012-01-02", periods=1_000)).rename(columns="A{}".format)
    wide = kn.Market.from_frames(close=close, open=close)
    run = kn.optimize(strategies.Crossover, wide, trials=4, runs_dir=tmp_path, fill="close")
    assert doubt(run, "Survivorship").sentence.startswith(
        "All 25 assets last to the end of 3.8 years, where about 4 ends are usual"
    )
    assert "yet it fills at that close" in doubt(run, "Same-bar").sentence
    assert {doubt(run, name).level for name in ("Survivorship", "Same-bar")} == {"caution"}


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_quick_look_flags_no_honest_specimen_and_finds_nine_leaks_in_ten(part: int) -> None:
    def looked_at(specimen):
        market = specimen.home(6)
        return glance([specimen.on(market)], market, seed=6, seconds=2.0).report

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [s.strategy.__name__ for s in CLEAN[part::3] if not looked_at(s).ok] == []
        chosen = LEAKY[part::3]
        missed = [s.strategy.__name__ for s in chosen if not set(looked_at(s).kinds) & set(s.kinds)]
    assert len(missed) <= len(chosen) / 10, missed


def test_what_trades_seldom_is_looked_at_where_it_trades() -> None:
    """On a month's last bar, by what follows: between those nothing would show."""

    class MonthEnds(kn.Strategy):
        def weights(self, m):
            close = m.close.frame()
            days = close.index
            last = days + pd.offsets.BMonthEnd(0) == days
            return np.where(last[:, None], (close.shift(-3) > close) * 0.2, np.nan)

    refused = []
    for seed in range(20):
        home = zoo_market(seed, n_assets=2)
        refused.append(glance([MonthEnds()], home, seed=seed, seconds=2.0).refused)
    assert sum(refused) >= 19
