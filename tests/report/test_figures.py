"""The charts, checked on what they draw."""

import numpy as np
import pandas as pd
import pytest

from knowable.report import Page, figures
from knowable.report.curves import DRAWN_POINTS
from knowable.report.parameters import DRAWN_TRIALS, MOST_SLICES, slice_names


def test_single_backtest_has_only_its_curves(make_walk):
    assert list(figures(Page(title="t", equity=make_walk(50)))) == ["equity", "drawdown"]


def test_full_page_has_all_charts_in_reading_order(make_page):
    slices = [f"slice_{i}" for i in range(5)]
    names = ["equity", "drawdown", "exposure", "map", *slices, "folds", "fold_parameters"]
    assert list(figures(make_page())) == names


def test_equity_chart_draws_the_curve_and_the_scaled_benchmark(make_page):
    page = make_page()
    strategy, benchmark = figures(page)["equity"].data
    np.testing.assert_array_equal(strategy.y, page.equity.to_numpy())
    np.testing.assert_allclose(benchmark.y, page.benchmark / page.benchmark.iloc[0] * page.equity.iloc[0])
    assert strategy.x[0] == "2018-01-01"


def test_long_curve_is_thinned_but_keeps_its_worst_minute():
    index = pd.date_range("2020-01-01", periods=60_000, freq="min", tz="UTC")
    equity = pd.Series(1000.0 + np.arange(60_000.0), index=index)
    equity.iloc[43_210] = 5.0
    figs = figures(Page(title="t", equity=equity))
    assert len(figs["equity"].data[0].x) <= DRAWN_POINTS
    assert min(figs["equity"].data[0].y) == 5.0
    assert min(figs["drawdown"].data[0].y) == pytest.approx(5.0 / (1000 + 43_209) - 1)


def test_folds_are_marked_in_the_equity_chart(make_page):
    marks = figures(make_page())["equity"].layout.shapes
    assert [mark.x0[:10] for mark in marks] == ["2019-01-01", "2020-01-01", "2021-01-01", "2022-01-01"]


def test_grid_of_trials_becomes_cells_of_medians(make_page):
    trials = pd.DataFrame(
        {
            "fast": [5, 5, 10, 10, 5, 5],
            "slow": [50, 100, 50, 100, 50, 50],
            "mode": list("aaaabc"),
            "sharpe": [1.0, 2.0, np.nan, 4.0, 3.0, 8.0],
        }
    )
    page = make_page(trials=trials, parameters=("fast", "slow", "mode"), folds=None)
    heat, ring = figures(page)["map"].data
    assert heat.type == "heatmap"
    # fast across 5, 10; slow up 50, 100; (5, 50) was tried with three modes: 1, 3, 8; (10, 50) failed
    np.testing.assert_array_equal(heat.z, [[3.0, np.nan], [2.0, 4.0]])
    assert (ring.x[0], ring.y[0]) == (0, 0)


def test_scattered_trials_become_dots_with_failed_ones_apart(make_page):
    page = make_page()
    done, failed, ring = figures(page)["map"].data
    assert len(done.x) == 56
    assert len(failed.x) == 4
    best = page.trials.loc[page.trials["sharpe"].idxmax()]
    assert {ring.x[0], ring.y[0]} == {best["decay"], best["lookback"]}


def test_minimized_objective_rings_the_smallest(make_page):
    page = make_page(maximize=False)
    ring = figures(page)["slice_0"].data[2]
    assert ring.y[0] == page.trials["sharpe"].min()


def test_one_parameter_has_a_slice_and_no_map(make_page):
    figs = figures(make_page(parameters=("lookback",), folds=None))
    assert "map" not in figs
    assert "slice_0" in figs


def test_choices_only_have_slices_with_their_names(make_page):
    figs = figures(make_page(parameters=("weighting", "long_only"), folds=None))
    assert "map" not in figs
    assert list(figs["slice_0"].layout.xaxis.ticktext) == ["equal", "rank"]


def test_all_failed_trials_still_draw(make_page):
    page = make_page()
    figs = figures(make_page(trials=page.trials.assign(sharpe=np.nan)))
    done, failed = figs["map"].data
    assert len(done.x) == 0
    assert len(failed.x) == 60


def test_many_trials_and_parameters_are_capped_but_keep_the_best(make_page):
    rng = np.random.default_rng(3)
    n = 20_000
    names = tuple(f"p{i}" for i in range(15))
    trials = pd.DataFrame({name: rng.random(n) for name in names}).assign(sharpe=rng.random(n))
    trials.loc[12_345, "sharpe"] = 9.0
    page = make_page(trials=trials, parameters=names, folds=None)
    figs = figures(page)
    assert len(slice_names(page)) == MOST_SLICES
    drawn = figs["slice_0"].data[0].y
    assert len(drawn) <= DRAWN_TRIALS + 1
    assert 9.0 in drawn


def test_wide_positive_parameter_gets_a_log_axis(make_page):
    page = make_page()
    assert slice_names(page)[0] == "decay"
    assert figures(page)["slice_0"].layout.xaxis.type == "log"


def test_missing_fold_figures_leave_gaps(make_page):
    outside, inside, _ = figures(make_page())["folds"].data
    np.testing.assert_array_equal(outside.y, [0.6, np.nan, -0.2, 0.9])
    np.testing.assert_array_equal(inside.y, [1.4, 1.2, 1.5, 1.3])


def test_tags_in_names_reach_plotly_as_text(make_page):
    evil = '<a href="javascript:alert(1)">%{x}</a>'
    trials = make_page().trials.rename(columns={"lookback": evil, "sharpe": "<b>s</b>"})
    figs = figures(make_page(trials=trials, parameters=(evil, "top"), objective="<b>s</b>", folds=None))
    for figure in figs.values():
        text = figure.to_json()
        assert "<a " not in text
        assert "<b>s" not in text
        assert "\\u003ca " not in text
    assert "%{x}" not in figs["map"].data[0].hovertemplate


@pytest.mark.parametrize("n", [1, 2])
def test_shortest_equity_draws_dots(make_walk, n):
    figs = figures(Page(title="t", equity=make_walk(n)))
    assert figs["equity"].data[0].mode == "lines+markers"


def test_notebook_figures_offer_no_upload(make_page):
    for figure in figures(make_page()).values():
        assert "sendChartToCloud" in figure.layout.template.layout.modebar.remove
