"""Strategies that say when to enter and to leave: from the notebook's point of view."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.backtest.signals import SignalPanels, signal_panels
from knowable.errors import InputError, ShapeError, StrategyError


def market(n_bars: int = 400, n_assets: int = 3, seed: int = 0) -> kn.Market:
    rng = np.random.default_rng(seed)
    index = pd.bdate_range("2020-01-01", periods=n_bars)
    names = list("ABCDEFGH"[:n_assets])
    close = 100 * np.exp(rng.normal(0.0003, 0.015, (n_bars, n_assets)).cumsum(0))
    open_ = close * np.exp(rng.normal(0, 0.005, close.shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.005, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.005, close.shape)))
    frames = {"open": open_, "high": high, "low": low, "close": close}
    return kn.Market.from_frames(**{k: pd.DataFrame(v, index=index, columns=names) for k, v in frames.items()})


class Breakout(kn.Strategy):
    """Buy a new high; leave below the mean, at a stop, at a target."""

    window = kn.Int(5, 60, default=20)
    stop = kn.Float(0.01, 0.2, default=0.05)
    target = kn.Float(0.05, 0.5, default=0.15)

    def signals(self, m):
        return kn.Signals(
            entry=m.close >= m.close.max(self.window),
            exit=m.close < m.close.mean(self.window),
            stop=self.stop,
            target=self.target,
        )


class Peeks(kn.Strategy):
    """Its entry knows tomorrow's close."""

    def signals(self, m):
        ahead = m.close.frame().shift(-1)
        return kn.Signals(entry=ahead > m.close.frame(), exit=ahead <= m.close.frame())


class PeeksAtStops(kn.Strategy):
    """Its stop knows how far tomorrow falls."""

    def signals(self, m):
        close = m.close.frame()
        fall = (1 - close.shift(-1) / close).clip(0.001, 0.5)
        return kn.Signals(entry=m.close > m.close.mean(5), stop=fall)


def test_a_backtest_tells_why_each_position_was_closed():
    result = kn.backtest(Breakout(), market(), costs=kn.Costs(fee_bps=5))
    reasons = set(result.orders["reason"])
    assert {"filled", "stop", "target"} <= reasons
    stopped = result.orders[result.orders["reason"] == "stop"].iloc[0]
    entry = result.trades[result.trades["exit_time"] == stopped["fill_time"]].iloc[0]
    assert entry["asset"] == stopped["asset"]
    assert entry["exit_price"] <= entry["entry_price"] * 0.95 + 1e-9
    assert result.positions.to_numpy().min() >= 0
    assert result.positions.mul(market().close.frame()).sum(axis=1).max() < 1.3e6


def test_signals_without_levels_are_the_weights_of_the_same_rule():
    """One asset, all in or out: hold from the first entry to the first exit after it."""

    class Rule(kn.Strategy):
        def signals(self, m):
            return kn.Signals(entry=m.close > m.close.mean(20), exit=m.close < m.close.mean(20))

    class Same(kn.Strategy):
        def weights(self, m):
            return m.close > m.close.mean(20)

    m = market(n_assets=1)
    for fill in ("next_open", "next_close", "close"):
        options = {"fill": fill, "costs": kn.Costs(fee_bps=10, slippage_bps=3)}
        a, b = kn.backtest(Rule(), m, **options), kn.backtest(Same(), m, **options)
        assert a.equity.to_numpy().tobytes() == b.equity.to_numpy().tobytes()
        assert len(a.trades) > 10
        pd.testing.assert_frame_equal(a.orders, b.orders)


def test_a_sweep_has_the_figures_of_each_backtest():
    m = market()
    table = kn.sweep(Breakout, m, grid={"window": [10, 20], "stop": [0.02, 0.05]}, costs=kn.Costs(fee_bps=5))
    for _, row in table.iterrows():
        alone = kn.backtest(Breakout(window=int(row["window"]), stop=row["stop"]), m, costs=kn.Costs(fee_bps=5))
        for name in ("sharpe", "total_return", "n_trades", "turnover"):
            assert row[name] == alone.metrics[name], name


def test_a_walk_forward_trades_each_folds_choice_in_one_account(tmp_path):
    run = kn.walk_forward(Breakout, market(700), train="1y", test="6mo", trials=6, workers=0, seed=1, runs_dir=tmp_path)
    assert np.isfinite(run.metrics["total_return"])
    assert len(run.equity) > 200
    assert (run.trials["error"].isna()).all()
    assert {"stop", "target"} & set(run.orders["reason"])


def test_look_ahead_is_found_in_signals_and_in_levels():
    m = market(300)
    assert kn.check(Breakout(), m, cuts=3).ok
    for leaky in (Peeks(), PeeksAtStops()):
        report = kn.check(leaky, m, cuts=3, fill="close")
        assert not report.ok
        assert {finding.kind for finding in report.findings} == {"look-ahead"}
    with pytest.raises(StrategyError, match="look-ahead"):
        kn.sweep(Peeks, m, trials=[{}, {}])


def test_a_rebalance_rule_says_on_which_bars_signals_are_taken():
    class Monthly(Breakout):
        rebalance = "month_end"

    result = kn.backtest(Monthly(), market())
    decided = result.orders.loc[result.orders["reason"] == "filled", "decision_time"]
    ends = pd.Series(result.index).groupby(pd.DatetimeIndex(result.index).to_period("M").astype(str)).max()
    assert set(decided) <= set(ends)
    assert len(decided)


def given(**signals) -> SignalPanels:
    m = market(5, 2)
    return signal_panels(kn.Signals(**signals).given(), Breakout(), m)


def test_what_is_said_is_checked_and_told_kindly():
    yes = np.ones((5, 2))
    with pytest.raises(InputError, match="never a position"):
        kn.Signals(exit=yes)
    for name, value in (("stop", 1.5), ("stop", -0.1), ("trail", 1.0), ("target", 0.0), ("size", 0.0)):
        with pytest.raises(InputError, match=f"`{name}` must be a fraction"):
            kn.Signals(entry=yes, **{name: value})
    with pytest.raises(ShapeError, match=r"Signals\(entry=...\)` has shape \(5, 1\)"):
        given(entry=np.ones((5, 1)))
    with pytest.raises(StrategyError, match="`Signals.entry=...\\)` is 'yes', a str"):
        given(entry="yes")
    bad = np.full((5, 2), 0.1)
    bad[3, 1] = 2.0
    with pytest.raises(StrategyError, match=r"`stop` must be .* but it is 2 for 'B' at .* \(row 3\)"):
        given(entry=yes, stop=bad)
    with pytest.raises(StrategyError, match="above 0 where a position is entered, but it is nan for 'A'"):
        given(entry=yes, size=np.full((5, 2), math.nan))


def test_truths_and_numbers_that_are_not_0_say_the_same():
    over = market()
    close = over.close.frame()
    entry = close > close.rolling(20).mean()
    hidden = np.ma.masked_array(entry.to_numpy(), mask=~entry.to_numpy())
    forms = [entry, entry.to_numpy(), np.asfortranarray(entry), entry.astype(float).where(entry), entry * -2, hidden]
    made = [signal_panels({"entry": form, "exit": ~entry}, Breakout(), over).flags for form in forms]
    assert made[0].any()
    np.testing.assert_array_equal(made[0], np.where(entry, 1, 2))
    assert all(each.tobytes() == made[0].tobytes() for each in made)


def test_a_strategy_has_one_way_to_decide():
    with pytest.raises(StrategyError, match=r"has both weights\(self, m\) and signals\(self, m\)"):

        class Both(kn.Strategy):
            def weights(self, m):
                return m.close

            def signals(self, m):
                return kn.Signals(entry=m.close)

    class Nothing(kn.Strategy):
        def signals(self, m):
            pass

    with pytest.raises(StrategyError, match=r"returned a NoneType; kn.Signals\(entry=..., exit=...\) is needed; is a"):
        kn.backtest(Nothing(), market(10))


def test_sizes_above_the_limit_are_refused_or_scaled():
    class Large(kn.Strategy):
        def signals(self, m):
            return kn.Signals(short_entry=m.close > m.close.mean(5), short_exit=m.close < m.close.mean(5), size=0.8)

    with pytest.raises(InputError, match="max_leverage"):
        kn.backtest(Large(), market(60))
    assert "max_leverage" in kn.sweep(Large, market(60), trials=[{}], check=False)["error"].iloc[0]
    scaled = kn.backtest(Large(), market(60), leverage_check="scale")
    entries = scaled.orders[(scaled.orders["side"] == "sell") & (scaled.orders["size"] > 0)]
    part = entries["size"] * entries["price"] / scaled.equity.reindex(entries["decision_time"]).to_numpy()
    assert part.groupby(entries["decision_time"].to_numpy()).sum().max() < 1.05, "0.8 each of three, scaled to 1"
    assert part.max() > 0.7
    assert kn.backtest(Large(), market(60), max_leverage=3.0).metrics["n_trades"] > 0


def test_levels_need_the_prices_within_a_bar():
    m = market(50)
    closes = kn.Market.from_frames(close=m.close.frame())
    with pytest.raises(InputError, match="needs open, high and low, but the market has close only"):
        kn.backtest(Breakout(window=5), closes, fill="next_close")

    class Plain(kn.Strategy):
        def signals(self, m):
            return kn.Signals(entry=m.close > m.close.mean(5), exit=m.close < m.close.mean(5))

    assert kn.backtest(Plain(), closes, fill="next_close").metrics["n_trades"] > 0


def test_what_a_cell_says_tells_all_signals_apart():
    seen = set()
    for flag in range(1, 16):
        for guards in ({}, {"stop": 0.1}, {"target": 0.1}, {"trail": 0.1}, {"size": 0.2}):
            bits = {name: np.full((5, 2), bool(flag & bit)) for name, bit in
                    (("entry", 1), ("exit", 2), ("short_entry", 4), ("short_exit", 8))}  # fmt: skip
            if not flag & 5 and guards:
                continue
            if not flag & 5:
                bits["entry"] = np.zeros((5, 2))
            seen.add(float(given(**bits, **guards).cells()[0, 0]))
    assert len(seen) == 12 * 5 + 3
