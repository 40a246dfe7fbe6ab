"""A feature against the returns that follow: hand tables, pandas, laws of what may be known when."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import knowable as kn
from knowable.analysis.measures import buckets, churn, correlation, forward, portfolio
from knowable.analysis.study import Analysis
from knowable.metrics.hac import mean_test

NAN = math.nan


def market(n_bars: int = 300, n_assets: int = 12, seed: int = 1, lead: int = 1) -> kn.Market:
    """Random walks whose return from the next open on is moved by `signal`."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2015-01-01", periods=n_bars)
    names = [f"A{k:02d}" for k in range(n_assets)]
    signal = rng.normal(size=(n_bars, n_assets))
    moves = rng.normal(0, 0.01, (n_bars, n_assets))
    moves[1 + lead :] += 0.005 * signal[: -1 - lead]
    close = pd.DataFrame(50 * np.exp(np.cumsum(moves, axis=0)), days, names)
    opens = close.shift(1).fillna(50.0)
    return kn.Market.from_frames(close=close, open=opens, signal=pd.DataFrame(signal, days, names))


def test_forward_returns_begin_at_the_price_after_the_decision() -> None:
    days = pd.bdate_range("2020-01-01", periods=5)
    close = pd.DataFrame({"A": [10.0, 11.0, 12.0, 13.0, 14.0], "B": [20.0, 22.0, 33.0, NAN, NAN]}, days)
    opens = pd.DataFrame({"A": [1.0, 2.0, 4.0, 8.0, 16.0], "B": [1.0, 2.0, 6.0, NAN, NAN]}, days)
    made = kn.Market.from_frames(close=close.rename(columns=str), open=opens.clip(upper=close.max().max()))
    nan = [NAN, NAN]
    np.testing.assert_allclose(forward(made, 1, "next_open"), [[1, 2], [1, 0], [1, NAN], nan, nan])
    np.testing.assert_allclose(forward(made, 2, "next_close")[:2], [[2 / 11, 0.5], [2 / 12, 0.0]])
    np.testing.assert_allclose(forward(made, 1, "close")[:, 0], [0.1, 1 / 11, 1 / 12, 1 / 13, NAN])


def test_rank_correlation_is_that_of_pandas_where_both_are_there() -> None:
    rng = np.random.default_rng(2)
    x, y = np.round(rng.normal(size=(2, 60, 15)), 1)
    x[rng.random(x.shape) < 0.2] = NAN
    y[rng.random(y.shape) < 0.2] = NAN
    found = correlation(x, y, 2)
    for t in range(60):
        pair = pd.DataFrame({"x": x[t], "y": y[t]}).dropna()
        assert found[t] == pytest.approx(pair["x"].corr(pair["y"], method="spearman"), abs=1e-12)
    assert np.isnan(correlation(x, y, 16)).all()


def test_buckets_hold_equal_counts_and_equal_values_share_one() -> None:
    x = np.array([[5.0, 1.0, 3.0, 2.0, 4.0, NAN], [1.0, 1.0, 1.0, 2.0, NAN, NAN]])
    np.testing.assert_array_equal(buckets(x, 5, 2)[0], [5, 1, 3, 2, 4, NAN])
    np.testing.assert_array_equal(buckets(x, 2, 2)[1], [1, 1, 1, 2, NAN, NAN])
    assert np.isnan(buckets(x, 5, 2)[1]).all(), "fewer assets than buckets"


@given(arrays(float, (3, 11), elements=st.one_of(st.integers(0, 9).map(float), st.just(NAN))), st.integers(2, 6))
def test_buckets_of_the_opposite_are_the_opposite_buckets(x: np.ndarray, n: int) -> None:
    there, back = buckets(x, n, 2), n + 1 - buckets(-x, n, 2)
    middle = 2 * pd.DataFrame(x).rank(axis=1) == pd.DataFrame(x).notna().sum(axis=1).to_numpy()[:, None] + 1
    np.testing.assert_array_equal(np.where(middle, NAN, there), np.where(middle, NAN, back))


@pytest.mark.parametrize(
    ("n_assets", "n_buckets", "wanted"),
    [(10, 4, [2, 3, 3, 2]), (7, 5, [1, 2, 1, 2, 1]), (20, 3, [7, 6, 7]), (15, 4, [4, 3, 4, 4]), (12, 4, [3] * 4)],
)
def test_buckets_are_as_even_as_can_be_and_alike_at_both_ends(n_assets: int, n_buckets: int, wanted: list[int]) -> None:
    found = buckets(np.random.default_rng(1).permutation(n_assets)[None].astype(float), n_buckets, 2)
    assert [int((found == k + 1).sum()) for k in range(n_buckets)] == wanted


def test_the_buckets_of_an_analysis_are_those_of_the_language() -> None:
    made = market(60, 13)
    np.testing.assert_array_equal(buckets(made.signal.values(), 4, 2), made.signal.quantile(4).values())


def test_churn_is_the_share_of_a_bucket_that_is_new() -> None:
    bucket = np.array([[1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 1.0, 2.0], [1.0, 2.0, 1.0, 2.0]])
    np.testing.assert_array_equal(churn(bucket, 2, 1), [[NAN, NAN], [0.5, 0.5], [0.0, 0.0]])


def test_the_rank_portfolio_is_half_long_half_short() -> None:
    x = np.array([[3.0, 1.0, 2.0, NAN, 9.0], [1.0, 1.0, 1.0, NAN, NAN]])
    np.testing.assert_allclose(portfolio(x, 2), [[0.125, -0.375, -0.125, 0.0, 0.375], [0.0] * 5])


@pytest.mark.parametrize("overlap", [1, 5])
def test_the_error_of_a_mean_is_newey_and_west_s_by_their_own_sum(overlap: int) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.1, 1, 203).cumsum() * 0.02 + rng.normal(size=203)
    values[[7, 90]] = NAN
    held = [v for v in values if not math.isnan(v)]
    n, mean = len(held), math.fsum(held) / len(held)
    lags = max(overlap - 1, math.floor(4 * (n / 100) ** (2 / 9)))
    covariance = [math.fsum((held[t] - mean) * (held[t - k] - mean) for t in range(k, n)) / n for k in range(lags + 1)]
    long_run = covariance[0] + 2 * math.fsum((1 - k / (lags + 1)) * covariance[k] for k in range(1, lags + 1))
    found = mean_test(values, overlap)
    assert (found.n, found.lags) == (n, lags)
    assert found.error == pytest.approx(math.sqrt(long_run / n), rel=1e-12)
    assert found.t == pytest.approx(mean / math.sqrt(long_run / n), rel=1e-12)


@pytest.mark.parametrize("values", [[], [NAN], [1.0], [1.0, 1.0, 1.0, 1.0], [0.0] * 9])
def test_a_mean_without_spread_or_values_has_no_t(values: list[float]) -> None:
    assert math.isnan(mean_test(np.array(values, dtype=float)).t)


def test_a_signal_that_moves_the_next_return_is_found_and_noise_is_not() -> None:
    found = market().signal.analyse(horizons=[1, 5])
    assert found.summary.loc[1, "t"] < 3, "the return it moves comes a bar after the entry"
    assert found.summary.loc[5, "t"] > 5
    assert list(found.quantile_returns[5]) == sorted(found.quantile_returns[5])
    at_once = market(lead=0, seed=5).signal.analyse(horizons=1, fill="close")
    assert at_once.summary.loc[1, "t"] > 8
    assert any("optimistic" in note for note in at_once.notes)


def test_summary_figures_are_those_of_slow_pandas() -> None:
    made = market(120, 9)
    found = made.signal.analyse(horizons=(2,), quantiles=3, cost_bps=7, min_assets=3)
    opens, x = made.final_panel("open"), made.signal.frame()
    gain = pd.DataFrame(opens, x.index, x.columns).pipe(lambda p: p.shift(-3) / p.shift(-1) - 1)
    ic = pd.Series({t: x.loc[t].corr(gain.loc[t], method="spearman") for t in x.index})
    np.testing.assert_allclose(found.ic[2], ic, atol=1e-12)
    bucket = np.ceil(x.rank(axis=1) * 3 / 9)
    means = pd.DataFrame({k: gain.where(bucket == k).mean(axis=1) for k in (1, 2, 3)})
    np.testing.assert_allclose(found.quantile_returns[2], means.mean(), atol=1e-12)
    assert found.summary.loc[2, "spread"] == pytest.approx((means[3] - means[1]).mean(), abs=1e-12)
    assert found.summary.loc[2, "hit"] == pytest.approx((ic.dropna() > 0).mean())
    auto = [x.iloc[t].corr(x.iloc[t - 2], method="spearman") for t in range(2, len(x))]
    assert found.summary.loc[2, "rank_autocorrelation"] == pytest.approx(np.mean(auto))
    one = pd.DataFrame(opens, x.index, x.columns).pipe(lambda p: p.shift(-2) / p.shift(-1) - 1)
    centred = x.where(one.notna()).rank(axis=1).pipe(lambda r: r.sub(r.mean(axis=1), axis=0))
    weights = centred.div(centred.abs().sum(axis=1), axis=0).fillna(0.0)
    traded = weights.diff().fillna(weights.iloc[[0]]).abs().sum(axis=1)
    net = (weights * one).sum(axis=1) - 7e-4 * traded
    np.testing.assert_allclose(found.portfolio["net"], net, atol=1e-12)
    assert found.trading["net_sharpe"] == pytest.approx(net.mean() / net.std() * math.sqrt(made.bars_per_year))


def test_who_is_no_member_does_not_count() -> None:
    made = market(80, 12)
    members = np.ones(made.shape)
    members[:, 8:] = 0.0
    within = made.with_universe(members, "the first eight")
    few = kn.Market.from_frames(
        close=made.close.frame().iloc[:, :8],
        open=made.open.frame().iloc[:, :8],
        signal=made.signal.frame().iloc[:, :8],
    )
    pd.testing.assert_frame_equal(within.signal.analyse().summary, few.signal.analyse().summary)


def test_later_bars_never_change_the_correlation_of_earlier_ones() -> None:
    made = market(90)
    whole, part = made.signal.analyse(horizons=[1, 3]), made.signal.analyse(made.until(60), horizons=[1, 3])
    known = {1: 60 - 2, 3: 60 - 4}
    for h, n in known.items():
        np.testing.assert_array_equal(part.ic[h].to_numpy()[:n], whole.ic[h].to_numpy()[:n])
        assert np.isnan(part.ic[h].to_numpy()[n:]).all(), "a return that is not over is not known"


def test_groups_are_looked_at_one_by_one() -> None:
    made = market(100, 12)
    sides = {name: "odd" if k % 2 else "even" for k, name in enumerate(made.assets)}
    found = made.signal.analyse(horizons=[5], groups=sides, min_assets=3).by_group
    odd = kn.Market.from_frames(
        close=made.close.frame().iloc[:, 1::2], open=made.open.frame().iloc[:, 1::2],
        signal=made.signal.frame().iloc[:, 1::2],
    )  # fmt: skip
    alone = odd.signal.analyse(horizons=[5], min_assets=3, quantiles=2).summary
    assert list(found.index) == ["even", "odd"]
    assert found.loc["odd", "ic_mean"] == pytest.approx(alone.loc[5, "ic_mean"])
    codes = np.tile(np.arange(12) % 2, (100, 1)).astype(float)
    by_panel = made.signal.analyse(horizons=[5], groups=codes, min_assets=3).by_group
    np.testing.assert_array_equal(by_panel.to_numpy(), found.to_numpy())


def test_groups_in_a_table_are_found_by_their_labels_in_whatever_order() -> None:
    made = market()
    low = set(made.assets[:6])
    names = {a: "low" if a in low else "high" for a in made.assets}
    wanted = made.signal.analyse(groups=names, min_assets=3).by_group
    table = pd.DataFrame([names] * made.n_bars, made.index)
    for given_as in (table, table[list(made.assets)[::-1]], table.tz_localize(None), table.to_numpy()):
        pd.testing.assert_frame_equal(made.signal.analyse(groups=given_as, min_assets=3).by_group, wanted)
    numbers = made.signal.analyse(groups=(table == "low").iloc[:, ::-1], min_assets=3).by_group
    assert numbers.loc["1", "ic_mean"] == wanted.loc["low", "ic_mean"]
    partly = made.signal.analyse(groups={**names, "A00": None}, min_assets=3).by_group
    assert partly.loc["high"].equals(wanted.loc["high"])


def test_figures_that_are_missing_are_explained() -> None:
    made = market(120)
    told = (made.signal > 0).analyse(horizons=(1,), quantiles=5).notes
    assert any("There is no spread: no bar fills both bucket 1 and bucket 5." in note for note in told)
    late = (made.signal + made.signal.lag(40)).analyse(horizons=np.array([1, 100]))
    assert "No bar has values and returns of 5 assets at horizon 100." in late.notes
    each = made.signal.analyse(groups={a: a for a in made.assets})
    assert any("12 of 12 groups, first 'A00', have no bar with values and returns of 5" in note for note in each.notes)
    assert len(made.signal.analyse(horizons=(1,), groups=dict.fromkeys(made.assets, "all")).notes) == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"horizons": "5"}, "`horizons` is a list of whole bars, such as"),
        ({"horizons": []}, "`horizons` is a list of whole bars"),
        ({"horizons": [0]}, "`horizons >= 1` must hold, but horizons=0"),
        ({"horizons": [1.5]}, "`horizons` must be whole, but it is 1.5"),
        ({"horizons": [900]}, "A horizon of 900 bars leaves nothing of a market of 300 bars"),
        ({"quantiles": 1}, "`quantiles >= 2` must hold"),
        ({"cost_bps": -1}, "`cost_bps >= 0` must hold, but cost_bps=-1"),
        ({"cost_bps": "10"}, "`cost_bps >= 0` must hold, but cost_bps='10'"),
        ({"min_assets": 40}, "no bar has values and returns of 40 assets, the most is 12"),
        ({"fill": "next"}, "Unknown fill 'next'. Did you mean 'next_open'?|Unknown fill 'next'"),
        ({"groups": {"A00": 1}}, "`groups` says no group of asset 'A01'"),
        ({"groups": 3}, "must be a feature, a panel of groups or a mapping"),
        ({"groups": np.arange(3600.0).reshape(300, 12)}, "`groups` has 3,600 different values, but at most 200"),
        (
            {"groups": pd.DataFrame(1, range(300), [f"A{k:02d}" for k in range(12)])},
            "has another index than the market",
        ),
        ({"groups": pd.DataFrame(1, range(300), range(12))}, r"columns that differ from the market's assets, first"),
        ({"groups": np.zeros((2, 2))}, r"`groups` has shape \(2, 2\); the market needs"),
    ],
)
def test_a_wrong_setting_is_named(options: dict[str, object], match: str) -> None:
    with pytest.raises(kn.KnowableError, match=match):
        market().signal.analyse(**options)


def test_a_feature_that_is_the_same_for_all_assets_says_when_and_not_what() -> None:
    with pytest.raises(kn.KnowableError, match="when to invest, not in what"):
        (market().signal * 0).analyse()


def test_the_page_is_one_file_that_escapes_what_it_shows(tmp_path: Path) -> None:
    made = market(60)
    found = made.signal.analyse(groups=dict.fromkeys(made.assets, "<script>alert(1)</script>"))
    path = found.write(tmp_path / "deep" / "page.html")
    text = path.read_text(encoding="utf-8")
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert 'src="http' not in text
    assert all(f'data-figure="{name}"' in text for name in found.figures())
    assert "<script>alert" not in found._repr_html_()
    assert ">2015</td>" in text, "a year is no quantity"
    with pytest.raises(kn.KnowableError, match="is the folder"):
        found.write(tmp_path)
    with pytest.raises(kn.KnowableError, match="Unknown figure 'grow'"):
        found.plot("grow")


def test_the_text_is_short_and_names_what_was_looked_at() -> None:
    found = market(60).signal.analyse()
    assert isinstance(found, Analysis)
    lines = repr(found).splitlines()
    assert lines[0] == "Analysis of signal"
    assert len(lines) <= 25
    assert "in sample" in lines[-1]
