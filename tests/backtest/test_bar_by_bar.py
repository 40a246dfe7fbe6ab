"""Bar by bar or all at once: the same decisions give the same bits, whatever the account and the data."""

from __future__ import annotations

import math
import re
from dataclasses import fields

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backtest.random_markets import cases as money_cases

import knowable as kn
from knowable.backtest.bar_by_bar import decisions
from knowable.data.market import Market
from knowable.errors import KnowableError

NAN = math.nan
COMMON = settings(max_examples=2 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WEIGHTS = [0.0, 0.0, 0.2, 0.25, -0.2, 0.3, -0.1, NAN]


class AtOnce(kn.Strategy):
    """Weights that were written down beforehand."""

    def weights(self, m):
        return self.plan[: m.n_bars]


class BarByBar(kn.Strategy):
    """The same, a row at a time."""

    def on_bar(self, bar, account):
        account.target(self.plan[bar.row])


class AssetByAsset(kn.Strategy):
    """The same, an asset at a time."""

    def on_bar(self, bar, account):
        for name, weight in zip(bar.assets, self.plan[bar.row], strict=True):
            if not np.isnan(weight):
                account.target(name, weight)


def replay(kind, plan, rebalance):
    made = type(kind.__name__, (kind,), {"rebalance": rebalance})()
    made.plan = plan
    return made


@st.composite
def markets(draw):
    """Prices with gaps, newcomers, delisted names, a universe, and closes that were revised or late."""
    n_bars, n_assets = draw(st.integers(2, 40)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    move = rng.normal(0.0, draw(st.sampled_from([0.01, 0.3, 0.7])), (n_bars, n_assets))
    close = 50.0 * np.exp(np.cumsum(move, axis=0))
    fields = {"close": close, "open": close * np.exp(rng.normal(0.0, 0.05, close.shape))}
    fields["high"] = np.maximum(close, fields["open"]) * 1.01
    fields["low"] = np.minimum(close, fields["open"]) * 0.99
    if draw(st.booleans()):
        rows = np.arange(n_bars)[:, None]
        missing = rng.random(close.shape) < 0.15
        missing |= (rows < rng.integers(0, n_bars, n_assets)) & (rng.random(n_assets) < 0.3)  # not listed yet
        missing |= (rows >= rng.integers(1, n_bars + 1, n_assets)) & (rng.random(n_assets) < 0.3)  # delisted
        fields = {k: np.where(missing | (rng.random(close.shape) < 0.05), NAN, v) for k, v in fields.items()}
    known = fields
    if draw(st.booleans()):
        revised = np.where(rng.random(close.shape) < 0.3, np.exp(rng.normal(0.0, 0.2, close.shape)), 1.0)
        late = np.where(rng.random(close.shape) < 0.2, NAN, revised)
        known = {**fields, "close": fields["close"] * late}
    days = np.datetime64("2020-01-30") + np.cumsum(rng.integers(1, 4, n_bars))
    market = Market.build(
        times=days.astype("datetime64[ns]").astype(np.int64),
        assets=tuple("ABCDE"[:n_assets]),
        panels={name: panel.copy() for name, panel in known.items()},
        final=None if known is fields else {name: panel.copy() for name, panel in fields.items()},
    )
    if draw(st.booleans()):
        market = market.with_universe(rng.random(close.shape) < 0.7, "some")
    return market, rng


@st.composite
def accounts(draw):
    amount = st.sampled_from
    preset = draw(amount([None, None, None, "vectorbt", "backtesting"]))
    if preset is not None:
        return {"preset": preset, "costs": kn.Costs(fee_bps=draw(amount([0, 10]))), "leverage_check": "scale"}
    costs = kn.Costs(
        fee_bps=draw(amount([0, 10])),
        fee_per_share=draw(amount([0, 0.01])),
        fee_min=draw(amount([0, 3.0, 60.0])),
        half_spread_bps=draw(amount([0, 4])),
        slippage_bps=draw(amount([0, 7])),
        borrow_bps_year=draw(amount([0, 300])),
    )
    return {
        "cash": 1000.0,
        "fill": draw(amount(["next_open", "next_close", "next_vwap", "close"])),
        "size_at": draw(amount(["decision", "fill"])),
        "costs": costs,
        "lot": draw(amount([None, 1.0, 5.0])),
        "max_leverage": draw(amount([1.0, 2.0])),
        "leverage_check": draw(amount(["scale", "scale", "strict"])),
    }


def outcome(strategy, market, start, account):
    """All that a run leaves behind, to the bit; or what it was refused for."""
    try:
        result = kn.backtest(strategy, market, start=start, **account)
    except KnowableError as error:
        return str(error).splitlines()[0].split(" (NaN keeps")[0].split(" and max_leverage")[0]
    record = result.record
    figures = np.array(list(result.metrics.values()))
    parts = [record.equity, record.bars, record.orders, record.activity, figures]
    return [part.tobytes() for part in parts], record.n_fills, record.liquidated_at, result.warnings


class Scripted(kn.Strategy):
    """Orders of every kind that were written down beforehand, and a look at all there is."""

    compiled = True

    def memory(self, m):
        return {"total": np.zeros(2)}

    def on_bar(self, bar, account):
        past = bar.past("close", 3)
        sums = self.total
        sums[0] += 1.0 + past.shape[0]
        for seen in (account.cash, account.equity, account.positions[0], account.weights[bar.n_assets - 1], past[0, 0]):
            if np.isfinite(seen):
                sums[0] += seen
        if bar.odd[0] > 1.0:
            sums[1] = sums[0] / 3.0
        little = 1.0 + 1e-7 * (sums[0] - sums[1])  # what it saw and remembers changes what it asks for
        for j in range(bar.n_assets):
            kind, number = self.kinds[bar.row, j], little * self.numbers[bar.row, j]
            if kind == 1:
                account.target(j, number * self.part)
            elif kind == 2:
                account.target_shares(j, number)
            elif kind == 3:
                account.order(j, number)
                if number > 5.0:
                    account.order(j, 1.0 - number)

    def features(self, m):
        return {"odd": m.close / m.open}


class ScriptedPlain(Scripted):
    """The same without a compiler."""

    compiled = False


def scripted(kind, kinds, numbers, rebalance):
    made = type(kind.__name__, (kind,), {"rebalance": rebalance, "part": 0.01})()
    made.kinds, made.numbers = kinds, numbers
    return made


@given(markets(), accounts(), st.sampled_from([None, "bar", 3]), st.booleans())
@COMMON
def test_a_compiled_strategy_has_the_bits_of_its_plain_python(case, account, rebalance, late) -> None:
    market, rng = case
    kinds = rng.choice([0, 1, 1, 2, 3] if "preset" not in account else [0, 1], market.shape)
    numbers = rng.choice([0.0, 1.0, 3.0, -2.0, 7.5, -12.0, 40.0, 0.4], market.shape)
    start = market.index[min(5, market.n_bars - 2)] if late else None
    made = [scripted(kind, kinds, numbers, rebalance) for kind in (Scripted, ScriptedPlain)]
    assert outcome(made[0], market, start, account) == outcome(made[1], market, start, account)
    asked = [decisions(each, market) for each in made]
    assert asked[0].tobytes() == asked[1].tobytes()


@given(
    markets(),
    accounts(),
    st.sampled_from([None, "bar", "month_end", "week_end", 3]),
    st.sampled_from([BarByBar, AssetByAsset]),
    st.booleans(),
)
@COMMON
def test_a_plan_played_bar_by_bar_has_the_bits_of_its_weights(case, account, rebalance, kind, late) -> None:
    market, rng = case
    plan = rng.choice(WEIGHTS, market.shape)
    if rng.random() < 0.3:
        plan = np.where(rng.random(plan.shape) < 0.3, plan, rng.choice([1.0, 2.0, -1.0]) / market.n_assets)
    start = market.index[min(5, market.n_bars - 2)] if late else None
    want = outcome(replay(AtOnce, plan, rebalance), market, start, account)
    got = outcome(replay(kind, plan, rebalance), market, start, account)
    if isinstance(want, str) and not isinstance(got, str):  # weights are looked at beforehand, up to the last bar
        refused, first = int(re.search(r"row (\d+)", want)[1]), 0 if start is None else market.index.get_loc(start)
        assert 0 <= got[2] < refused - first, (want, got)  # what was liquidated before never gets there
    else:
        assert got == want


@given(money_cases())
@settings(max_examples=20)
def test_all_that_moves_money_does_so_bar_by_bar(case):
    market, account = case.market, case.account
    plan, given = (
        np.where(case.decide[:, None], case.weights, NAN),
        {each.name: getattr(account, each.name) for each in fields(account)},
    )
    one, other = (kn.backtest(replay(kind, plan, None), market, **given).record for kind in (AtOnce, BarByBar))
    assert one.equity.tobytes() == other.equity.tobytes()
    assert one.bars.tobytes() == other.bars.tobytes()
    assert one.orders.tobytes() == other.orders.tobytes()
