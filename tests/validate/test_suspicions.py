"""What a person should judge is shown and never counts: warm-up, fills at a deciding price, survivors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import frame, zoo_market
from knowable.validate.findings import LEAKS, SUSPICIONS, Finding, LeakReport
from knowable.validate.futures import other_close, perturbed, started_late, usual_move
from knowable.validate.suspicions import survivorship

MARKET = zoo_market(0)


class Moving(Strategy):
    def weights(self, m: Market):
        close = frame(m)
        return close.rolling(20).mean() / close - 1


class Decaying(Strategy):
    span = kn.Int(2, 500, default=10)

    def weights(self, m: Market):
        close = frame(m)
        return close.ewm(span=self.span).mean() / close - 1


class EveryFifth(Strategy):
    def weights(self, m: Market):
        return np.where((np.arange(m.n_bars) % 5 == 0)[:, None], 0.2, 0.0) * np.ones(m.shape)


class ByTheOpen(Strategy):
    def weights(self, m: Market):
        return (frame(m, "open") < frame(m).shift(1)) * 0.2


class ByTheClose(Strategy):
    def weights(self, m: Market):
        return (frame(m) > frame(m).rolling(3).mean()) * 0.2


def suspected(strategy: Strategy, market: Market = MARKET, **options: object) -> set[str]:
    report = kn.check(strategy, market, cuts=[50, 200], **options)
    assert report.ok
    return {finding.kind for finding in report.suspicions}


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(Moving(), set()), (Decaying(), set()), (Decaying(span=400), {"warm-up"}), (EveryFifth(), {"warm-up"})],
)
def test_only_what_hangs_on_where_the_data_begin_is_suspected_of_it(strategy, expected) -> None:
    assert suspected(strategy) == expected


def test_a_window_longer_than_what_is_left_is_no_memory() -> None:
    class Long(Strategy):
        def weights(self, m: Market):
            close = frame(m)
            return close.rolling(230).mean() / close - 1

    assert suspected(Long()) == set()


def test_a_short_market_is_not_asked_where_it_begins() -> None:
    assert kn.check(EveryFifth(), zoo_market(0, n_bars=30), cuts=[10]).suspicions == ()


def test_a_fill_at_the_close_that_decides_is_suspected_and_one_decided_by_the_open_is_not() -> None:
    assert suspected(ByTheClose(), fill="close") == {"same-bar"}
    assert suspected(ByTheClose(), fill="next_open") == set()
    assert suspected(ByTheClose()) == set()
    assert suspected(ByTheOpen(), fill="close") == set()
    text = repr(kn.check(ByTheClose(), MARKET, cuts=[50], fill="close"))
    assert "yet it fills at that close. Fill at the next." in text


def many(n_assets: int, n_bars: int, ends: int = 0) -> Market:
    rng = np.random.default_rng(1)
    close = pd.DataFrame(50 * np.exp(np.cumsum(rng.normal(0, 0.01, (n_bars, n_assets)), axis=0)))
    close = close.set_axis(pd.bdate_range("2010-01-01", periods=n_bars)).rename(columns="N{}".format)
    close.iloc[n_bars // 2 :, :ends] = np.nan
    return Market.from_frames(close=close)


@pytest.mark.parametrize(
    ("n_assets", "n_bars", "ends", "expected"),
    [
        (50, 522, 0, True),  # a hundred years of names: four ends to be expected, none came
        (50, 522, 1, False),
        (50, 260, 0, False),  # fifty years of names: none by chance once in seven
        (19, 5_000, 0, False),  # a handful of funds or futures
        (20, 2_610, 0, True),
    ],
)
def test_survivorship_is_suspected_where_no_end_would_be_a_surprise(n_assets, n_bars, ends, expected) -> None:
    found = survivorship(many(n_assets, n_bars, ends))
    assert [finding.kind for finding in found] == (["survivorship"] if expected else [])


def test_a_universe_that_names_leave_is_no_list_of_survivors() -> None:
    market = many(50, 522)
    members = np.ones(market.shape)
    assert survivorship(market.with_universe(members.copy(), "all")) != []
    members[300:, 3] = 0.0
    assert survivorship(market.with_universe(members, "some")) == []


def test_no_suspicion_counts_and_every_kind_has_its_sentence() -> None:
    where = {"asset": "A", "first_bar": pd.Timestamp("2020-01-02"), "row": 1, "cut": 2, "difference": float("inf")}
    suspicions = tuple(Finding(kind=kind, detail=sentence, **where) for kind, sentence in SUSPICIONS.items())
    report = LeakReport(strategy="X()", findings=(), suspicions=suspicions, cuts=(2,), seed=0)
    assert report.ok
    assert repr(report).startswith("no look-ahead found in 'X()' (1 cuts, seed 0).")
    for kind, sentence in SUSPICIONS.items():
        assert f"suspicion: {kind}: A from 2020-01-02 (row 1); {sentence}" in repr(report)
    leaks = tuple(Finding(kind=kind, detail=sentence, **where) for kind, sentence in LEAKS.items())
    full = LeakReport(
        strategy="X()", findings=leaks, suspicions=suspicions, cuts=(2,), notes=("n",) * 5, remedy="a\nb", seed=0
    )
    assert not full.ok
    assert len(repr(full).splitlines()) == 12
    assert full.plain()["findings"][0]["difference"] is None
    assert full.kinds == tuple(LEAKS)


def test_a_later_start_keeps_every_value_and_its_labels() -> None:
    late = started_late(MARKET, 100)
    assert late.shape == (160, 4)
    assert late.index.equals(MARKET.index[100:])
    np.testing.assert_array_equal(late.panel("close"), MARKET.panel("close")[100:])
    np.testing.assert_array_equal(late.times, MARKET.times[100:])


def test_a_little_moved_future_keeps_bars_plausible_and_is_little() -> None:
    other = perturbed(MARKET, 100, np.random.default_rng(0))
    for name in ("open", "close", "high", "low", "volume", "eps"):
        np.testing.assert_array_equal(other.panel(name)[:100], MARKET.panel(name)[:100])
    np.testing.assert_array_equal(other.panel("volume"), MARKET.panel("volume"))
    moved = np.abs(np.log(other.panel("close")[100:] / MARKET.panel("close")[100:]))
    assert (moved > 0).all()
    assert np.median(moved) < 0.2 * usual_move(MARKET)
    assert (other.panel("high") >= np.maximum(other.panel("open"), other.panel("close"))).all()


def test_another_end_of_a_bar_leaves_its_open_and_all_other_bars() -> None:
    other = other_close(MARKET, 100, np.random.default_rng(0))
    differs = {name: np.flatnonzero((other.panel(name) != MARKET.panel(name)).any(axis=1)) for name in MARKET.panels}
    assert differs["open"].size == 0
    assert differs["close"].tolist() == [100]
    assert differs["high"].tolist() == [100]
