"""Target weights of several assets sharing cash under `preset="vectorbt"`, against vectorbt's target percents.

Random portfolios: 1 to 12 assets with gaps, late listings and early ends; weights of both signs, zeros, no opinion, the
whole account or a part of it, on every bar or on random rows; fees, slippage, lots. What is left out of the random
draw is named in docs/decisions/parity.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from knowable.backtest import Costs, Settings, simulate
from knowable.data.market import Market

CASH = 1e6
ROUNDING = 1e-11  # of the account: an order is the difference of two positions, and a cut buy leaves 1e-12 of cash
DUST = 1e-9  # shares: vectorbt trades what rounding leaves, such as 1e-11 of a share; ours lets it be


class Scenario(NamedTuple):
    close: np.ndarray  # (n_bars, n_assets); NaN: no price
    weights: np.ndarray  # (n_bars, n_assets); NaN: no opinion
    fee_bps: float
    slippage_bps: float
    lot: float | None


def drawn(seed: int) -> Scenario:
    """A random portfolio. Stretches of seeds go through all kinds of costs, lots and rows."""
    rng = np.random.default_rng(seed)
    n_bars, n_assets = 90, 1 + seed % 12
    moves = rng.standard_t(4, (n_bars, n_assets)) * 0.012 + rng.standard_t(4, (n_bars, 1)) * 0.006
    close = rng.uniform(3.0, 300.0, n_assets) * np.exp(np.clip(moves, -0.3, 0.3).cumsum(axis=0))
    close = np.maximum(np.round(close, 2), 0.5)
    return Scenario(
        close=with_gaps(close, rng) if seed % 3 else close,
        weights=random_weights(n_bars, n_assets, rng, seed),
        fee_bps=[0.0, 10.0, 35.0][seed % 3],
        slippage_bps=[0.0, 5.0][seed // 3 % 2],
        lot=[None, 1.0, None, 10.0, None, 0.125][seed // 2 % 6],
    )


def with_gaps(close: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gone = rng.random(close.shape) < 0.04
    rows = np.arange(len(close))[:, None]
    lists, ends = rng.random(close.shape[1]) < 0.2, rng.random(close.shape[1]) < 0.1
    gone |= lists & (rows < rng.integers(1, 30, close.shape[1]))
    gone |= ends & (rows >= rng.integers(60, 90, close.shape[1]))
    return np.where(gone, np.nan, close)


def random_weights(n_bars: int, n_assets: int, rng: np.random.Generator, seed: int) -> np.ndarray:
    """Rows whose sum of |w|, with those that no opinion keeps, is 1 at most."""
    weights, stated = np.full((n_bars, n_assets), np.nan), np.zeros(n_assets)
    shorts, silent = [0.0, 0.3][seed // 4 % 2], [0.0, 0.25, 0.6][seed // 5 % 3]
    every = [1.0, 0.3, 0.1][seed // 7 % 3]
    for row in range(n_bars):
        if rng.random() >= every:
            continue
        says = rng.random(n_assets) >= silent
        shares = rng.dirichlet(np.ones(n_assets)) * (rng.random(n_assets) >= 0.2)
        shares *= 1.0 if rng.random() < 0.5 else rng.random()
        room = 1.0 - np.abs(stated[~says]).sum()
        total = shares[says].sum()
        if total > 0.0 and (total > room or rng.random() < 0.5):
            shares *= max(room, 0.0) / total
        shares[shares < 1e-9] = 0.0  # what rounding left of the room
        side = np.where(rng.random(n_assets) < shorts, -0.99, 1.0)
        stated[says] = (shares * side)[says]
        weights[row, says] = stated[says]
    return weights


def agree(vbt, seed: int) -> int:
    """Run both; how many orders both gave."""
    case = drawn(seed)
    index = pd.date_range("2015-01-01", periods=len(case.close))
    close = pd.DataFrame(case.close, index, [f"A{j:02}" for j in range(case.close.shape[1])])
    decides = ~np.isnan(case.weights).all(axis=1) if seed % 2 else np.ones(len(close), bool)
    account = Settings(
        preset="vectorbt", cash=CASH, lot=case.lot, costs=Costs(fee_bps=case.fee_bps, slippage_bps=case.slippage_bps)
    )
    got = simulate(case.weights, decides, Market.from_frames(close=close, missing="allow"), account)
    want = vbt.Portfolio.from_orders(
        close, case.weights, size_type="targetpercent", group_by=True, cash_sharing=True, call_seq="auto",
        init_cash=CASH, fees=case.fee_bps / 1e4, slippage=case.slippage_bps / 1e4, freq="1D",
        size_granularity=np.nan if case.lot is None else case.lot,
    )  # fmt: skip
    ours = got.orders[got.orders["size"] > 0.0].sort_values(["fill_time", "asset"])
    theirs = want.orders.records_readable.sort_values(["Timestamp", "Column"])
    theirs = theirs[theirs["Size"] > DUST]
    assert ours["fill_time"].tolist() == theirs["Timestamp"].tolist(), seed
    assert ours["asset"].tolist() == theirs["Column"].tolist(), seed
    assert ours["side"].tolist() == theirs["Side"].str.lower().tolist(), seed
    price, their_price = ours["price"].to_numpy(), theirs["Price"].to_numpy()
    np.testing.assert_allclose(price, their_price, rtol=1e-12)
    worth, their_worth = (table[name].to_numpy() * price for table, name in ((ours, "size"), (theirs, "Size")))
    np.testing.assert_allclose(worth, their_worth, rtol=1e-9, atol=ROUNDING * CASH, err_msg=f"sizes of {seed}")
    np.testing.assert_allclose(ours["fee"], theirs["Fees"], rtol=1e-9, atol=ROUNDING * CASH)
    np.testing.assert_allclose(got.equity.to_numpy(), want.value().to_numpy(), rtol=1e-9)
    return len(ours)


@pytest.mark.filterwarnings("ignore")
def test_random_portfolios_trade_as_target_percents_do(vbt):
    assert sum(agree(vbt, seed) for seed in range(30)) > 1000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_three_hundred_random_portfolios_agree(vbt):
    assert sum(agree(vbt, seed) for seed in range(30, 330)) > 10_000
