"""Mean-variance beside closed forms and scipy, limits kept, and what cannot be said in a sentence."""

import builtins
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import knowable as kn
from knowable import portfolio as p
from knowable.errors import InputError, UnknownNameError, UnsolvedError
from knowable.features.solved.quadratic import Limits, Problem, best_weights

FREE = Limits(long_only=False, max_weight=None, max_group=None, turnover=None, gross=None, net=None)


def problem(limits=FREE, *, k=6, seed=0, risk_aversion=5.0, held=None, groups=None):
    rng = np.random.default_rng(seed)
    x = 0.01 * (rng.normal(size=(60, 1)) + rng.normal(size=(60, k)))
    return Problem(
        covariance=np.cov(x.T),
        expected=rng.normal(size=k) * 5e-4,
        groups=np.full(k, np.nan) if groups is None else np.asarray(groups, float),
        held=held,
        risk_aversion=risk_aversion,
        limits=limits,
    )


def worth(asked, w):
    return asked.expected @ w - asked.risk_aversion / 2 * w @ asked.covariance @ w


@given(seed=st.integers(0, 1_000), k=st.integers(1, 12), risk_aversion=st.floats(0.1, 50))
def test_without_limits_it_is_the_closed_form(seed, k, risk_aversion):
    asked = problem(k=max(k, 2), seed=seed, risk_aversion=risk_aversion)
    made, _ = best_weights(asked)
    closed = np.linalg.solve(asked.covariance, asked.expected) / risk_aversion
    np.testing.assert_allclose(made, closed, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("risk_aversion", [1e4, 1e6, 1e9])
def test_weights_that_aversion_makes_tiny_are_in_proportion_to_those_of_less(risk_aversion):
    """Nothing but the sign limits them, so weights go with gain over aversion."""
    limits = FREE._replace(long_only=True, gross=1.0, max_weight=0.5, turnover=0.9)
    plain, _ = best_weights(problem(k=6, seed=3, risk_aversion=50.0, limits=limits))
    tiny, _ = best_weights(problem(k=6, seed=3, risk_aversion=risk_aversion, limits=limits, held=np.full(6, 0.1)))
    assert (plain == 0.0).any()
    assert 0.0 < np.abs(plain).max() < 0.5
    np.testing.assert_allclose(tiny * risk_aversion / 50.0, plain, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(tiny == 0.0, plain == 0.0)


def test_limits_that_bind_weights_of_little_gain_are_kept():
    held = np.full(6, 0.1)
    for limits in (
        FREE._replace(long_only=True, gross=1.0, turnover=0.2),
        FREE._replace(gross=1e-4),
        FREE._replace(max_weight=1e-5),
    ):
        made, _ = best_weights(problem(k=6, seed=3, risk_aversion=1e4, limits=limits, held=held))
        assert np.abs(made).max() <= (limits.max_weight or 1.0)
        assert np.abs(made).sum() <= (limits.gross or 1.0) + 1e-12
        assert np.abs(made - held).sum() <= (limits.turnover or 1e9) + 1e-8


def test_the_least_variance_of_two_assets_is_the_closed_form():
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    asked = Problem(
        covariance=covariance, expected=np.zeros(2), groups=np.zeros(2), held=None, risk_aversion=1.0,
        limits=FREE._replace(net=1.0),
    )  # fmt: skip
    np.testing.assert_allclose(best_weights(asked)[0], [0.08 / 0.11, 0.03 / 0.11], atol=1e-9)


LIMITS = {
    "long": FREE._replace(long_only=True, gross=1.0),
    "whole": FREE._replace(long_only=True, gross=1.0, net=1.0, max_weight=0.3),
    "neutral": FREE._replace(gross=1.5, net=0.0, max_weight=0.4),
    "groups": FREE._replace(long_only=True, net=0.9, max_group=0.5, max_weight=0.4),
    "turnover": FREE._replace(long_only=True, gross=1.0, turnover=0.3),
    "all": Limits(long_only=False, max_weight=0.3, max_group=0.6, turnover=0.8, gross=1.2, net=0.2),
}


def scipys(asked):
    """The same by SLSQP, each weight as a bought and a sold part, and each change too, so that all is smooth."""
    k, limits = len(asked.expected), asked.limits
    held = np.zeros(k) if asked.held is None else asked.held
    most = 10.0 if limits.max_weight is None else limits.max_weight
    # x: long part, short part, bought, sold
    parts = lambda x: x.reshape(4, k)  # noqa: E731
    weights = lambda x: parts(x)[0] - parts(x)[1]  # noqa: E731
    rules = [{"type": "eq", "fun": lambda x: weights(x) - held - parts(x)[2] + parts(x)[3]}]
    if limits.net is not None:
        rules.append({"type": "eq", "fun": lambda x: weights(x).sum() - limits.net})
    if limits.gross is not None and not (limits.long_only and limits.net is not None):  # said twice, it stumbles
        rules.append({"type": "ineq", "fun": lambda x: limits.gross - parts(x)[:2].sum()})
    if limits.turnover is not None:
        rules.append({"type": "ineq", "fun": lambda x: limits.turnover - parts(x)[2:].sum()})
    if limits.max_group is not None:
        for code in np.unique(asked.groups):
            mine = asked.groups == code
            rules.append({"type": "ineq", "fun": lambda x, mine=mine: limits.max_group - parts(x)[:2, mine].sum()})
    short = 0.0 if limits.long_only else most
    bounds = [(0, most)] * k + [(0, short)] * k + [(0, 20)] * (2 * k)
    begin = np.concatenate([np.maximum(held, 0), np.maximum(-held, 0), np.zeros(2 * k)])
    scale = 1e4
    found = minimize(
        lambda x: -scale * worth(asked, weights(x)),
        begin,
        bounds=bounds,
        constraints=rules,
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 2_000},
    )
    assert found.success, found.message
    return weights(found.x)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("seed", [1, 2])
def test_within_limits_it_agrees_with_scipy(name, seed):
    held = np.array([0.3, 0.1, 0.0, 0.2, 0.1, 0.0]) if "turnover" in name or name == "all" else None
    asked = problem(LIMITS[name], seed=seed, held=held, groups=[0, 0, 1, 1, 2, 2])
    made, why = best_weights(asked)
    assert made is not None, why
    theirs = scipys(asked)
    assert worth(asked, made) >= worth(asked, theirs) - 1e-10
    np.testing.assert_allclose(made, theirs, atol=2e-4)


@given(seed=st.integers(0, 1_000), k=st.integers(4, 20), name=st.sampled_from([*LIMITS]))
@settings(max_examples=60)
def test_limits_are_kept_and_no_permitted_portfolio_nearby_is_better(seed, k, name):
    limits, groups = LIMITS[name], np.arange(k) % 3
    rng = np.random.default_rng(seed)
    held = rng.dirichlet(np.ones(k)) * 0.2
    asked = problem(limits, k=k, seed=seed, held=held, groups=groups)
    made, why = best_weights(asked)
    assert made is not None, why

    def keeps(w, slack):
        return (
            (not limits.long_only or w.min() >= 0)
            and (limits.max_weight is None or abs(w).max() <= limits.max_weight + 1e-15)
            and (limits.gross is None or abs(w).sum() <= limits.gross + 1e-15)
            and (limits.net is None or abs(w.sum() - limits.net) <= slack)
            and (limits.turnover is None or abs(w - held).sum() <= limits.turnover + slack)
            and (
                limits.max_group is None or max(abs(w[groups == g]).sum() for g in range(3)) <= limits.max_group + slack
            )
        )

    assert keeps(made, 1e-8)
    for _ in range(50):  # the problem is convex: what is no worse nearby is no worse anywhere
        a, b = rng.choice(k, 2, replace=False)
        other = made.copy()
        step = rng.choice([1e-2, 1e-3])
        other[a] += step
        other[b] -= step
        if keeps(other, 1e-8):
            assert worth(asked, other) <= worth(asked, made) + 1e-10


REASONS = [
    (FREE._replace(net=1.0, max_weight=0.1), "net=1 is asked for, but 6 assets of at most max_weight=0.1 come to 0.6"),
    (FREE._replace(net=1.5, gross=1.0), "net=1.5 is asked for, but gross=1 is the most"),
    (FREE._replace(net=-0.5, long_only=True), "long_only=True leaves no weight below 0"),
    (FREE._replace(net=1.0, max_group=0.3), "3 groups of at most max_group=0.3 come to 0.9"),
    (
        Limits(True, 0.3, 0.5, 0.1, 1.0, 1.0),
        "no weights of 6 assets satisfy all of long_only=True, max_weight=0.3, max_group=0.5, turnover=0.1, gross=1",
    ),
]


@pytest.mark.parametrize(("limits", "sentence"), REASONS)
def test_limits_that_contradict_each_other_are_told(limits, sentence):
    held = np.array([1.0, 0, 0, 0, 0, 0])
    made, why = best_weights(problem(limits, held=held, groups=[0, 0, 1, 1, 2, 2]))
    assert made is None
    assert sentence in why


def test_a_gain_without_risk_and_without_bound_is_told():
    asked = Problem(
        covariance=np.ones((2, 2)) * 1e-4, expected=np.array([1e-3, -1e-3]), groups=np.zeros(2), held=None,
        risk_aversion=1.0, limits=FREE,
    )  # fmt: skip
    assert "Set gross or max_weight" in best_weights(asked)[1]


def test_the_row_and_its_date_are_told(market):
    made = p.mean_variance(None, market.close, 30, net=1.0, max_weight=0.05, every="month_end")
    first = int(
        np.flatnonzero(p.mean_variance(None, market.close, 30, net=1, every="month_end").frame().notna().any(axis=1))[0]
    )
    with pytest.raises(UnsolvedError, match=r"net=1 is asked for, but 12 assets of at most max_weight=0.05") as found:
        made.values()
    assert f"In row {first} ({market.index[first]})" in str(found.value)
    assert "infeasible='keep'" in str(found.value)
    stepper = made.stepper()
    with pytest.raises(UnsolvedError, match=rf"In row {first} \(.*{market.index[first]:%Y-%m-%d}"):
        stepper.feed(market.panels, market.times)


def test_a_backtest_and_a_sweep_say_it_too(market):
    class Tight(kn.Strategy):
        """Has no portfolio when the cap is low."""

        most = kn.Float(0.05, 0.5, default=0.2)

        def weights(self, m):
            return p.mean_variance(None, m.close, 30, net=1.0, max_weight=self.most, every="month_end")

    with pytest.raises(UnsolvedError, match="max_weight=0.06"):
        kn.backtest(Tight(most=0.06), market, fill="next_close")
    table = kn.sweep(Tight, market, grid={"most": [0.06, 0.2]}, fill="next_close")
    assert table["total_return"].notna().tolist() == [False, True]


def test_an_infeasible_rebalance_may_keep_what_is_held(gappy):
    # one asset more is selected in the second half: until then the cap leaves no whole portfolio
    of = gappy.close.lag(0).rank() <= 4
    few = p.mean_variance(None, gappy.close, 30, of=of, net=1.0, max_weight=0.26, infeasible="keep", every="week_end")
    free = p.mean_variance(gappy.close, gappy.close, 30, of=of, max_weight=0.26, every="week_end").values()
    values = few.values()
    totals = values.sum(axis=1)
    assert np.isnan(totals[:30]).all()
    assert np.isfinite(free[-1]).all()
    np.testing.assert_allclose(totals[~np.isnan(totals)], 1.0, atol=1e-8)


@pytest.mark.parametrize("risk_aversion", [1e-12, 1e-6])
def test_next_to_no_aversion_holds_the_best_and_nothing_else(risk_aversion):
    asked = problem(FREE._replace(long_only=True, gross=1.0), risk_aversion=risk_aversion)
    made, why = best_weights(asked)
    assert made is not None, why
    np.testing.assert_allclose(made, np.arange(6) == asked.expected.argmax(), atol=1e-9)


def test_where_nothing_is_to_be_gained_nothing_is_held(market):
    nothing = p.mean_variance(0.0 * market.close, market.close, 60, every="month_end").values()
    assert np.nanmax(np.abs(nothing)) == 0.0
    asked = problem(FREE._replace(long_only=True, turnover=0.1), held=np.full(6, 0.1))
    asked = replace(asked, expected=np.zeros(6))
    assert abs(best_weights(asked)[0]).sum() == pytest.approx(0.5, abs=1e-8)  # 0.1 of 0.6 may be sold


def test_turnover_counts_from_what_prices_made_of_the_last_weights(market):
    gain = market.close.returns().mean(20)
    made = p.mean_variance(gain, market.close, 60, risk_aversion=2, turnover=0.1, every="month_end").values()
    returns = market.close.returns().values()
    rows = np.flatnonzero((np.diff(np.nan_to_num(made), axis=0) != 0).any(axis=1)) + 1
    assert len(rows) > 10
    for one, other in pairwise(rows):
        held = made[one] * np.prod(1 + returns[one + 1 : other + 1], axis=0)
        held /= 1 - made[one].sum() + held.sum()
        assert abs(made[other] - held).sum() <= 0.1 + 1e-8
    assert abs(made[rows[0]]).sum() == pytest.approx(1.0, abs=1e-6)  # the first is free


def test_wrong_arguments_say_what_is_expected(market):
    close, made = market.close, lambda **options: p.mean_variance(None, market.close, 60, **{"net": 1.0, **options})
    for options, message in [
        (
            {"risk_aversion": 0},
            "`risk_aversion > 0` must hold for a finite number, but risk_aversion=0, in mean_variance",
        ),
        ({"max_weight": -0.1}, "`max_weight > 0` must hold for a finite number, or be None, but max_weight=-0.1"),
        ({"net": None}, "Without an expected return the least variance is that of holding nothing, with net=None"),
        ({"net": "1"}, "`net` must hold for a finite number, or be None"),
        ({"long_only": 1}, "`long_only` must be True or False, but long_only=1"),
        ({"max_group": 0.3}, "`groups` and `max_group` go together, but mean_variance got max_group without groups"),
        ({"groups": market.sector}, "got groups without max_group"),
        ({"of": ["AAPL"]}, "`of` says on each bar which assets may be held"),
        ({"turnover": float("nan")}, "`turnover > 0` must hold"),
    ]:
        with pytest.raises(InputError, match=message.replace("(", r"\(")):
            made(**options)
    with pytest.raises(InputError, match="`window >= 2` returns are needed"):
        p.mean_variance(close, close, 1)
    for options, near in [({"covariance": "ledoit"}, "ledoit_wolf"), ({"infeasible": "kep"}, "keep")]:
        with pytest.raises(UnknownNameError, match=f"Did you mean '{near}'"):
            made(**options)


def test_a_missing_solver_names_what_to_install(market, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "clarabel":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r'pip install "knowable\[portfolio\]"'):
        p.mean_variance(None, market.close, 60)
