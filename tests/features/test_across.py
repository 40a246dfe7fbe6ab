"""Cross-sections and groups as a user writes them: hand tables, pandas, universes, text, parameters, errors."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from knowable import features as f
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.features.apply import apply
from knowable.params import Float, Int

NAN = np.nan


def table(text: str) -> np.ndarray:
    """Rows between semicolons; a dash is NaN, a lone number stands in each column, 1/3 is a third."""
    rows = [[NAN if cell == "-" else float(Fraction(cell)) for cell in row.split()] for row in text.split(";")]
    return np.array([row * 5 if len(row) == 1 else row for row in rows])


X = table("1 2 4 8 -;        3 3 1 - 9;       5 4 3 2 1")
SIZE = table("0 1 2 3 4;      1 1 2 2 7;       1 2 3 4 -")
SECTOR = table("7 7 20 20 20; 7 7 20 20 20;    7 20 20 - 7")
MEMBERS = table("1 1 1 0 1;   1 0 1 1 1;       1 1 1 1 0")


def market(universe: np.ndarray | None = None) -> Market:
    panels = {"x": X, "size": SIZE, "sector": SECTOR}
    return market_of(panels if universe is None else {**panels, "universe": universe})


def market_of(panels: dict[str, np.ndarray]) -> Market:
    n_bars, n_assets = panels["x"].shape
    names = tuple(f"A{j}" for j in range(n_assets))
    return Market.build(times=np.arange(1, n_bars + 1) * 86_400_000_000_000, assets=names, panels=panels)


@pytest.fixture
def m() -> Market:
    return market()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda m: m.x.pct_rank(), "1/4 1/2 3/4 1 -;   5/8 5/8 1/4 - 1;   1 4/5 3/5 2/5 1/5"),
        (lambda m: m.x.quantile(2), "1 1 2 2 -;        2 2 1 - 2;         2 2 2 1 1"),
        (lambda m: m.x.top(2), "0 0 1 1 -;             1 1 0 - 1;         1 1 0 0 0"),
        (lambda m: m.x.bottom(1), "1 0 0 0 -;          0 0 1 - 0;         0 0 0 0 1"),
        (lambda m: m.x.scale(15), "1 2 4 8 -;          45/16 45/16 15/16 - 135/16;   5 4 3 2 1"),
        (lambda m: m.x.winsorize(0.25), "1.75 2 4 5 -;  3 3 2.5 - 4.5;     4 4 3 2 2"),
        (lambda m: m.x.cross_mean(), "3.75;            4;                 3"),
        (lambda m: m.x.cross_count(), "4;              4;                 5"),
        (lambda m: m.x.mask(m.size > 1), "- - 4 8 -;   - - 1 - 9;         - 4 3 2 -"),
        (lambda m: m.x.neutralize(m.size), "0.7 -0.6 -0.9 0.8 -;   10/11 10/11 -24/11 - 4/11;   0 0 0 0 -"),
        (lambda m: m.x.group_rank(m.sector), "1 2 1 2 -;          1.5 1.5 1 - 2;   2 2 1 - 1"),
        (lambda m: m.x.group_rank(m.sector, True), "2 1 2 1 -;    1.5 1.5 2 - 1;   1 1 2 - 2"),
        (lambda m: m.x.group_mean(m.sector), "1.5 1.5 6 6 6;      3 3 5 5 5;       3 3.5 3.5 - 3"),
        (lambda m: m.x.group_sum(m.sector), "3 3 12 12 12;        6 6 10 10 10;    6 7 7 - 6"),
        (lambda m: m.x.group_count(m.sector), "2;                 2;               2 2 2 - 2"),
        (lambda m: m.x.group_neutralize(m.sector), "-1/2 1/2 -2 2 -;        0 0 -4 - 4;   2 1/2 -1/2 - -2"),
        (lambda m: m.x.group_zscore(m.sector) * 2**0.5, "-1 1 -1 1 -;       - - -1 - 1;   1 1 -1 - -1"),
    ],
)
def test_hand_table(m, make, expected) -> None:
    np.testing.assert_allclose(make(m).values(), table(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda m: m.x.pct_rank(), "1/3 2/3 1 - -;        2/3 - 1/3 - 1;   1 3/4 1/2 1/4 -"),
        (lambda m: m.x.quantile(3), "1 2 3 - -;           2 - 1 - 3;       3 2 2 1 -"),
        (lambda m: m.x.top(1), "0 0 1 - -;                0 - 0 - 1;       1 0 0 0 -"),
        (lambda m: m.x.bottom(2), "1 1 0 - -;             1 - 1 - 0;       0 0 1 1 -"),
        (lambda m: m.x.scale(7), "1 2 4 - -;              21/13 - 7/13 - 63/13;   5/2 2 3/2 1 -"),
        (lambda m: m.x.winsorize(0.5), "2 2 2 - -;        3 - 3 - 3;       3.5 3.5 3.5 3.5 -"),
        (lambda m: m.x.cross_mean(), "7/3;                13/3;            3.5"),
        (lambda m: m.x.cross_count(), "3;                 3;               4"),
        (lambda m: m.x.neutralize(m.size), "1/6 -1/3 1/6 - -;   45/31 - -54/31 - 9/31;   0 0 0 0 -"),
        (lambda m: m.x.group_rank(m.sector), "1 2 1 - -;         1 - 1 - 2;         1 2 1 - -"),
        (lambda m: m.x.group_neutralize(m.sector), "-1/2 1/2 0 - -;    0 - -4 - 4;   0 1/2 -1/2 - -"),
        (lambda m: m.x.group_zscore(m.sector) * 2**0.5, "-1 1 - - -;    - - -1 - 1;  - 1 -1 - -"),
        # whoever has a group is told of its members, a member or not, as with cross_sum
        (lambda m: m.x.group_mean(m.sector), "1.5 1.5 4 4 4;     3 3 5 5 5;         5 3.5 3.5 - 5"),
        (lambda m: m.x.group_sum(m.sector), "3 3 4 4 4;          3 3 10 10 10;      5 7 7 - 5"),
        (lambda m: m.x.group_count(m.sector), "2 2 1 1 1;        1 1 2 2 2;         1 2 2 - 1"),
        # of each cell alone
        (lambda m: m.x.mask(m.size > 1), "- - 4 8 -;   - - 1 - 9;         - 4 3 2 -"),
    ],
)
def test_with_a_universe_members_are_crossed_and_grouped_among_themselves(make, expected) -> None:
    np.testing.assert_allclose(make(market(MEMBERS)).values(), table(expected), rtol=1e-12, atol=1e-12)


CROSSED = [
    lambda m: m.x.pct_rank(), lambda m: m.x.quantile(3), lambda m: m.x.top(2), lambda m: m.x.scale(),
    lambda m: m.x.bottom(2), lambda m: m.x.winsorize(), lambda m: m.x.neutralize(m.size, m.sector),
    lambda m: m.x.neutralize(m.size.rank(), m.size * m.x), lambda m: m.x.group_rank(m.sector),
    lambda m: m.x.group_zscore(m.sector), lambda m: m.x.group_neutralize(m.sector + 1),
    lambda m: m.x.group_mean(m.size.quantile(2)), lambda m: m.x.group_sum(m.sector),
    lambda m: m.x.group_count(m.sector), lambda m: m.x.cross_mean(), lambda m: m.x.cross_count(),
]  # fmt: skip


@pytest.mark.parametrize("make", CROSSED)
def test_what_non_members_are_changes_no_bit_of_members(make) -> None:
    """Neither their values, nor their features, nor their groups."""
    rng = np.random.default_rng(1)
    usual = {"x": rng.normal(size=(5, 12)), "size": rng.random((5, 12)), "sector": rng.integers(0, 3, (5, 12)) * 1.0}
    universe = (rng.random((5, 12)) < 0.7) * 1.0
    here = universe == 1.0
    usual["x"][1, 3] = usual["size"][2, 7] = usual["sector"][3, 0] = NAN
    strange = [5.0, -3.0, NAN, 1e300, -np.inf, np.inf, 0.0, 7.0, 1.0, 2.0, -1e300, 20.0]
    changed = {name: np.where(here, panel, strange) for name, panel in usual.items()}
    expected, got = (make(market_of({**panels, "universe": universe})).values()[here] for panels in (usual, changed))
    assert np.isfinite(expected).mean() > 0.8
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("make", CROSSED)
def test_a_text_means_members_where_there_is_a_universe(make) -> None:
    plain, within, everyone = market(), market(MEMBERS), market(np.ones_like(MEMBERS))
    assert within.expression(make(plain).text()).node is make(within).node
    assert within.expression(make(within).text()).node is make(within).node
    assert make(everyone).values().tobytes() == make(plain).values().tobytes()


def test_the_text_is_what_was_written(m) -> None:
    c = m.x
    assert repr(c.neutralize(m.size, c.lag(1))) == "neutralize(x, size, lag(x, 1))"
    assert repr(c.group_rank(m.sector, descending=True)) == "group_rank(x, sector, descending=True)"
    assert repr(c.winsorize().scale(2)) == "scale(winsorize(x, 0.05), 2.0)"
    assert repr(c.mask(m.size > 1).top(10)) == "top(mask(x, size > 1), 10)"
    within = market(MEMBERS)
    assert repr(within.x.neutralize(within.size)) == "neutralize(members(x, universe), size)"
    assert repr(within.x.mask(within.size)) == "mask(x, size)"


def test_a_number_may_stand_for_a_mask_or_what_is_masked(m) -> None:
    np.testing.assert_array_equal(f.mask(m.x, 1).values(), X)
    np.testing.assert_array_equal(f.mask(m.x, 0).values(), X * NAN)
    np.testing.assert_array_equal(f.mask(2, m.size > 1).values()[0], [NAN, NAN, 2, 2, 2])


def test_a_number_in_place_of_a_panel_is_one_value_for_all_assets(m) -> None:
    """The functions ask for features; the operators below them would read past the end of a number."""
    np.testing.assert_array_equal(apply("group_mean", m.x, 1).values(), m.x.cross_mean().values())
    np.testing.assert_allclose(apply("neutralize", m.x, 3).values(), m.x.demean().values(), atol=1e-15)


@pytest.mark.parametrize(
    ("make", "param", "values"),
    [
        (lambda x, n: x.quantile(n), Int(1, 9), (1, 2, 9)),
        (lambda x, n: x.top(n), Int(1, 9), (1, 2, 9)),
        (lambda x, n: x.bottom(2 * n), Int(1, 9), (1, 2, 9)),
        (lambda x, share: x.winsorize(share), Float(0.0, 0.5), (0.0, 0.1, 0.5)),
        (lambda x, total: x.scale(total), Float(0.5, 2.0), (0.5, 1.0, 2.0)),
        (lambda x, total: x.scale(total), Int(1, 3), (1, 2, 3)),
    ],
)
def test_a_parameter_may_be_left_open(m, make, param, values) -> None:
    expression = make(m.x, f.symbol("p", param))
    for value in values:
        fixed = make(m.x, value)
        assert f.bind(expression.node, {"p": value}) is fixed.node
        assert f.Program.of(expression).evaluate(m, {"p": value}).tobytes() == fixed.values().tobytes()


@pytest.mark.parametrize(
    ("make", "value", "text"),
    [
        (lambda x, p: x.winsorize(p), 1, "`0 <= share <= 0.5` must hold for a number, but share=1"),
        (lambda x, p: x.scale(p), 0, "`total > 0` must hold for a finite number, but total=0"),
        (lambda x, p: x.top(p), 0, "`n >= 1` must hold, but n=0"),
        (lambda x, p: x.quantile(p), 10**7, "`n <= 1,000,000` must hold, but n=10,000,000"),
    ],
)
def test_an_open_parameter_out_of_range_is_named_when_its_value_comes(m, make, value, text) -> None:
    expression = make(m.x, f.symbol("p", Int(1, 3)))
    with pytest.raises(InputError) as caught:
        f.Program.of(expression).evaluate(m, {"p": value})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda m: m.x.top(0), "`n >= 1` must hold, but n=0, in top(x, 0)."),
        (lambda m: m.x.top("5"), "`n` must be a whole number of assets, but n='5' is of type str, in top(x, '5')."),
        (lambda m: m.x.quantile(0.5), "`n` must be a whole number of buckets, but n=0.5 is of type float"),
        (lambda m: m.x.quantile(True), "n=True is of type bool"),
        (lambda m: m.x.winsorize(0.6), "`0 <= share <= 0.5` must hold for a number, but share=0.6, in winsorize(x,"),
        (lambda m: m.x.winsorize(NAN), "share=nan"),
        (lambda m: m.x.winsorize("5%"), "share='5%'"),
        (lambda m: m.x.scale(-1), "`total > 0` must hold for a finite number, but total=-1, in scale(x, -1)."),
        (lambda m: m.x.scale(np.inf), "total=inf"),
        (lambda m: m.x.pct_rank("down"), "`descending` must be True or False"),
        (lambda m: m.x.neutralize(), "as in neutralize(x, market.size), but got none.\nFor the bar's mean alone"),
        (lambda m: m.x.neutralize(m.size, 3), "`neutralize` needs a feature, such as market.close, but got 3."),
        (lambda m: f.neutralize(3, m.size), "`neutralize` needs a feature, such as market.close, but got 3."),
        (lambda m: m.x.group_mean("sector"), "`group_mean` needs a feature, such as market.close, but got 'sector'."),
        (lambda m: m.x.group_rank(m.sector, "down"), "descending='down', in group_rank(x, sector, 'down')."),
        (lambda m: m.x.mask(None), "got None of type NoneType, in `mask` of x, None."),
        (lambda m: m.x.groupby(m.sector), "x.group_neutralize(groups)"),
        (lambda m: m.x.where(m.size > 0), "write x.mask(condition)"),
    ],
)  # fmt: skip
def test_errors_say_what_came_and_what_to_do(m, act, text) -> None:
    with pytest.raises((InputError, AttributeError)) as caught:
        act(m)
    assert text in str(caught.value)


def test_one_sector_after_another_agrees_with_pandas_on_long_panels() -> None:
    """More rows than one block of the regression, groups that change now and then."""
    rng = np.random.default_rng(2)
    x, size = rng.normal(size=(2, 100, 40))
    sector = np.repeat(rng.integers(0, 5, (10, 40)), 10, axis=0).astype(float)
    x[rng.random(x.shape) < 0.1] = NAN
    m = market_of({"x": x, "size": size, "sector": sector})
    long = pd.DataFrame({"x": x.ravel(), "sector": sector.ravel(), "bar": np.repeat(np.arange(100), 40)})
    means = long.groupby(["bar", "sector"])["x"].transform("mean").to_numpy().reshape(x.shape)
    np.testing.assert_allclose(m.x.group_mean(m.sector).values(), means, rtol=1e-12, atol=1e-14)
    residual = m.x.neutralize(m.size).values()
    for t in range(100):
        known = np.isfinite(x[t])
        slope, level = np.polyfit(size[t, known], x[t, known], 1)
        np.testing.assert_allclose(residual[t, known], (x - level - slope * size)[t, known], rtol=1e-9, atol=1e-12)
