"""Laws of every function of the room: one answer for every way of computing it, and nothing from the future."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import knowable as kn
from knowable import features as f
from knowable import portfolio as p
from knowable.data.market import Market
from knowable.features.node import bind
from knowable.params import Float, Int

EVERY = "month_end"
MAKERS = {
    "inverse_volatility": lambda m: p.inverse_volatility(m.close, 30, of=m.close > m.close.mean(50), every=EVERY),
    "risk_parity": lambda m: p.risk_parity(m.close, 40, every=EVERY),
    "risk_parity of some": lambda m: p.risk_parity(
        m.close, 40, of=m.close > m.close.mean(50), covariance="constant_correlation", every="week_end"
    ),
    "mean_variance": lambda m: p.mean_variance(
        m.close.returns().mean(60), m.close, 60, risk_aversion=3, max_weight=0.3, gross=1, every=EVERY
    ),
    "mean_variance with all": lambda m: p.mean_variance(
        m.close.returns().mean(60), m.close, 60, risk_aversion=3.0, long_only=False, max_weight=0.25, groups=m.sector,
        max_group=0.5, turnover=0.3, gross=1.2, net=0.0, infeasible="keep", every=EVERY,
    ),
    "target_volatility": lambda m: p.target_volatility(
        p.inverse_volatility(m.close, 20), m.close, volatility=0.1, window=20, max_leverage=1.5, every="week_end"
    ),
    "cap": lambda m: p.cap(p.inverse_volatility(m.close, 20), 0.1),
    "cap that spreads": lambda m: p.cap(p.inverse_volatility(m.close, 20), 0.1, spread=True),
    "cap_groups": lambda m: p.cap_groups(p.inverse_volatility(m.close, 20), m.sector, 0.3),
    "drift_band": lambda m: p.drift_band(p.inverse_volatility(m.close, 20, every=EVERY), m.close, band=0.01),
    "limit_turnover": lambda m: p.limit_turnover(
        p.inverse_volatility(m.close, 20), m.close, turnover=0.05, every="week_end"
    ),
    "rebalance": lambda m: p.rebalance(p.inverse_volatility(m.close, 20), EVERY),
}  # fmt: skip
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def rows(market, first, last):
    return {name: panel[first:last] for name, panel in market.panels.items()}


@each
@given(cuts=st.lists(st.integers(0, 500), max_size=4))
@settings(max_examples=4)
def test_any_chunking_with_a_restored_state_has_the_bits_of_the_batch(make, gappy, cuts):
    feature = make(gappy)
    stepper, pieces = feature.stepper(), []
    for first, last in pairwise([0, *sorted(cuts), gappy.n_bars]):
        state, stepper = stepper.state(), feature.stepper()
        stepper.restore(state)
        pieces.append(stepper.feed(rows(gappy, first, last), gappy.times[first:last]))
    assert np.concatenate(pieces).tobytes() == feature.values().tobytes()


@each
def test_bar_by_bar_has_the_bits_of_the_batch(make, gappy):
    feature = make(gappy)
    stepper = feature.stepper()
    stepper.feed(rows(gappy, 0, 220), gappy.times[:220])
    made = []
    for t in range(220, 300):
        bar = {name: panel[t] for name, panel in gappy.panels.items()}
        made.append(stepper.step(bar | {"time": gappy.times[t]}))
    assert np.array(made).tobytes() == feature.values()[220:300].tobytes()


@each
def test_later_rows_never_change_a_bit(make, gappy):
    whole = make(gappy).values()
    rng = np.random.default_rng(0)
    for cut in (1, 150, 251, 400):
        assert make(gappy.until(cut)).values().tobytes() == whole[:cut].tobytes()
        other = {name: panel.copy() for name, panel in gappy.panels.items()}
        other["close"][cut:] = rng.uniform(1, 100, other["close"][cut:].shape)
        changed = Market.build(times=gappy.times, assets=gappy.assets, panels=other, calendar="XNYS")
        assert make(changed).values()[:cut].tobytes() == whole[:cut].tobytes()


@each
def test_permuting_assets_permutes_weights(make, gappy):
    order = np.random.default_rng(1).permutation(gappy.n_assets)
    turned = Market.build(
        times=gappy.times,
        assets=tuple(gappy.assets[k] for k in order),
        panels={name: np.ascontiguousarray(panel[:, order]) for name, panel in gappy.panels.items()},
        calendar="XNYS",
    )
    np.testing.assert_allclose(make(turned).values(), make(gappy).values()[:, order], rtol=1e-5, atol=2e-8)


@each
def test_who_is_no_member_or_has_no_price_is_not_held(make, gappy):
    values = make(gappy).values()
    after = slice(330, 345)  # a month has ended since
    assert np.nan_to_num(values[after, 7]).max() == 0.0
    assert np.nan_to_num(values[-100:, 5]).max() < 1e-4  # a limited turnover sells it bit by bit
    assert np.nanmax(values[-100:]) > 0.0


@each
def test_a_text_reads_back_as_the_very_same(make, gappy):
    feature = make(gappy)
    assert gappy.expression(feature.text()).node is feature.node


SYMBOLIC = {
    "inverse_volatility": lambda m, n, x: p.inverse_volatility(m.close, n),
    "risk_parity": lambda m, n, x: p.risk_parity(m.close, n, every=EVERY),
    "mean_variance": lambda m, n, x: p.mean_variance(
        None, m.close, n, net=1, max_weight=1 - x, turnover=2 * x, risk_aversion=x, every=EVERY
    ),
    "target_volatility": lambda m, n, x: p.target_volatility(
        p.inverse_volatility(m.close, n), m.close, volatility=x, window=n, max_leverage=1 + x
    ),
    "cap": lambda m, n, x: p.cap_groups(p.cap(p.inverse_volatility(m.close, n), x), m.sector, 2 * x),
    "cap that spreads": lambda m, n, x: p.cap(p.inverse_volatility(m.close, n), x, spread=True),
    "trading": lambda m, n, x: p.limit_turnover(
        p.drift_band(p.inverse_volatility(m.close, n), m.close, band=x / 4), m.close, turnover=x
    ),
}


@pytest.mark.parametrize("make", SYMBOLIC.values(), ids=SYMBOLIC)
def test_parameters_may_be_symbols(make, market):
    n, x = f.symbol("n", Int(2, 100)), f.symbol("x", Float(0.0, 1.0))
    open_ = make(market, n, x)
    program = f.Program.of(open_)
    for given_ in ({"n": 30, "x": 0.25}, {"n": 21, "x": 0.5}):
        shut = make(market, given_["n"], given_["x"])
        assert program.evaluate(market, given_).tobytes() == shut.values().tobytes()
        assert program.evaluate(market, given_, f.Memo(10**7)).tobytes() == shut.values().tobytes()
        assert bind(open_.node, given_) is shut.node or shut.node.op in ("minimum", "where", "lag")


class Careful(kn.Strategy):
    """All of the room in one strategy."""

    window = kn.Int(20, 120, default=60)
    most = kn.Float(0.1, 0.5, default=0.2)
    rebalance = "bar"

    def weights(self, m):
        gain = m.close.returns().mean(self.window)
        w = p.mean_variance(gain, m.close, self.window, max_weight=self.most, every=EVERY)
        w = (w + p.risk_parity(m.close, self.window, every=EVERY) + p.inverse_volatility(m.close, self.window)) / 3
        w = p.target_volatility(w, m.close, volatility=0.1, window=20, every="week_end")
        return p.drift_band(p.cap_groups(p.cap(w, 0.15), m.sector, 0.5), m.close, band=0.01)


@pytest.mark.slow
def test_a_strategy_of_all_of_it_is_checked_clean_and_swept(market):
    market = market.until(260)
    report = kn.check(Careful(), market)
    assert report.ok, report
    table = kn.sweep(Careful, market, grid={"window": [30, 60], "most": [0.2, 0.4]}, fill="next_close")
    alone = kn.backtest(Careful(window=30, most=0.4), market, fill="next_close")
    row = table[(table["window"] == 30) & (table["most"] == 0.4)].iloc[0]
    assert row["total_return"] == alone.metrics["total_return"]
