"""`preset="vectorbt"` against vectorbt itself on real prices; differences are explained in docs/decisions/parity.md.

Its loops run here as the Python they are written in; a slow test runs these tests with the compiled ones.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.backtest import Costs, Settings, simulate
from knowable.data.market import Market


def crossover(close, short_side):
    fast, slow = close.rolling(20).mean(), close.rolling(100).mean()
    known, up = slow.notna(), fast > slow
    weights = np.where(known, np.where(up, 1.0, short_side), np.nan)[:, None]
    return weights, (up & known), (~up & known)


def starts(state):
    return state & ~state.shift(1, fill_value=False)


@pytest.mark.parametrize("short_side", [0.0, -1.0])
@pytest.mark.parametrize(("fee_bps", "slippage_bps"), [(0, 0), (10, 0), (10, 5)])
@pytest.mark.filterwarnings("ignore")
def test_crossover_agrees_with_from_signals(vbt, index_market, sp500, short_side, fee_bps, slippage_bps):
    close = sp500["close"]
    weights, long, short = crossover(close, short_side)
    account = Settings(preset="vectorbt", costs=Costs(fee_bps=fee_bps, slippage_bps=slippage_bps))
    got = simulate(weights, np.ones(len(close), bool), index_market, account, on_change=True)
    other = {"exits": starts(short)} if short_side == 0.0 else {"short_entries": starts(short)}
    want = vbt.Portfolio.from_signals(
        close, entries=starts(long), **other, init_cash=1e6, fees=fee_bps / 1e4, slippage=slippage_bps / 1e4, freq="1D"
    )
    np.testing.assert_allclose(got.equity.to_numpy(), want.value().to_numpy(), rtol=1e-9)
    ours, theirs = got.orders[got.orders["size"] > 0.0], want.orders.records_readable
    assert len(ours) == len(theirs) > 60
    assert ours["fill_time"].tolist() == theirs["Timestamp"].tolist()
    assert ours["side"].tolist() == theirs["Side"].str.lower().tolist()
    for name, their_name in (("size", "Size"), ("price", "Price"), ("fee", "Fees")):
        np.testing.assert_allclose(ours[name], theirs[their_name], rtol=1e-9)
    assert any("Optimistic" in sentence for sentence in got.warnings)


@pytest.mark.parametrize(("fee_bps", "slippage_bps"), [(0, 0), (10, 5)])
@pytest.mark.filterwarnings("ignore")
def test_monthly_equal_weights_agree_with_from_orders(vbt, large_caps, fee_bps, slippage_bps):
    """Target percents, shared cash, sells first: its later buys are trimmed by earlier fees, smallest first."""
    close = large_caps.iloc[-1500:]
    days = close.index
    month_end = np.append(days[1:].month != days[:-1].month, True)
    n_assets = close.shape[1]
    weights = np.full(close.shape, 1.0 / n_assets)
    market = Market.from_frames(close=close)
    account = Settings(preset="vectorbt", costs=Costs(fee_bps=fee_bps, slippage_bps=slippage_bps))
    got = simulate(weights, month_end, market, account)
    size = pd.DataFrame(np.where(month_end[:, None], weights, np.nan), index=days, columns=close.columns)
    want = vbt.Portfolio.from_orders(
        close,
        size,
        size_type="targetpercent",
        group_by=True,
        cash_sharing=True,
        call_seq="auto",
        init_cash=1e6,
        fees=fee_bps / 1e4,
        slippage=slippage_bps / 1e4,
        freq="1D",
    )
    np.testing.assert_allclose(got.equity.to_numpy(), want.value().to_numpy(), rtol=1e-9)
    ours = got.orders[got.orders["size"] > 0.0].sort_values(["fill_time", "asset"])
    theirs = want.orders.records_readable.sort_values(["Timestamp", "Column"])
    assert len(ours) == len(theirs) > 1000
    np.testing.assert_allclose(ours["size"], theirs["Size"], rtol=1e-6, atol=1e-7)


def signals_agree(vbt, sp500: pd.DataFrame, seed: int) -> int:
    """Random signals and levels on a stretch of real bars; how many orders both engines gave."""
    rng = np.random.default_rng(seed)
    n_bars, at = 250, int(rng.integers(0, len(sp500) - 250))
    bars = {name: sp500[name].iloc[at : at + n_bars].clip(lower=1.0) for name in ("open", "high", "low", "close")}
    shorts = seed % 2 == 1
    chances = {"entries": 0.08, "exits": 0.05, "short_entries": 0.06 * shorts, "short_exits": 0.05 * shorts}
    says = {name: rng.random(n_bars) < chance for name, chance in chances.items()}
    guard = [{}, {"stop": 0.02}, {"trail": 0.03}][seed % 3] | [{}, {"target": 0.03}, {"target": 0.01}][seed // 3 % 3]
    fee, slippage, lot = [0, 10][seed % 2], [0, 5, 20][seed // 2 % 3], [None, 1.0][seed // 5 % 2]

    class Told(kn.Strategy):
        def signals(self, m):
            named = dict(zip(("entry", "exit", "short_entry", "short_exit"), says.values(), strict=True))
            return kn.Signals(**{name: flags[:, None] for name, flags in named.items()}, size=1.0, **guard)

    market = Market.from_frames(**{name: values.to_frame("A") for name, values in bars.items()})
    costs = Costs(fee_bps=fee, slippage_bps=slippage)
    got = kn.backtest(Told(), market, preset="vectorbt", cash=1e5, costs=costs, lot=lot)
    levels = {"sl_stop": guard["stop"]} if "stop" in guard else {}
    levels |= {"sl_stop": guard["trail"], "sl_trail": True} if "trail" in guard else {}
    levels |= {"tp_stop": guard["target"]} if "target" in guard else {}
    want = vbt.Portfolio.from_signals(
        bars["close"], **{name: pd.Series(flags, bars["close"].index) for name, flags in says.items()},
        open=bars["open"], high=bars["high"], low=bars["low"], upon_opposite_entry="reverse",
        init_cash=1e5, fees=fee / 1e4, slippage=slippage / 1e4, freq="1D", **levels,
        size_granularity=np.nan if lot is None else lot,
    )  # fmt: skip
    ours, theirs = got.orders[got.orders["size"] > 0.0], want.orders.records_readable
    assert ours["fill_time"].tolist() == theirs["Timestamp"].tolist(), seed
    assert ours["side"].tolist() == theirs["Side"].str.lower().tolist(), seed
    np.testing.assert_allclose(ours["price"], theirs["Price"], rtol=1e-12)
    np.testing.assert_allclose(ours["size"], theirs["Size"], rtol=1e-9)
    np.testing.assert_allclose(got.equity.to_numpy(), want.value().to_numpy(), rtol=1e-9)
    return len(ours)


@pytest.mark.filterwarnings("ignore")
def test_random_signals_with_stops_targets_and_trails_agree(vbt, sp500):
    assert sum(signals_agree(vbt, sp500, seed) for seed in range(30)) > 300


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_three_hundred_random_signals_agree(vbt, sp500):
    assert sum(signals_agree(vbt, sp500, seed) for seed in range(30, 330)) > 3000


@pytest.mark.slow
def test_compiled_vectorbt_agrees_too():
    made = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", __file__],
        env={**os.environ, "VECTORBT_COMPILED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-3000:]
