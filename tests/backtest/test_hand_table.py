"""Five bars of two assets, worked by hand: fees, slippage, a short with borrow, a missing price, a cash cut.

1,000 in cash; fee 1 %, slippage 1 %, borrow 36.5 % a year (0.1 % a day). Weights are decided at the close, sized there,
and fill at the next open.

bar 0  A closes at 10, B at 20. Weights A 0.5, B -0.25: buy 50 A, sell 12.5 B.
bar 1  A opens at 10: 50 at 10.10 = 505, fee 5.05. B has no open: it waits. Cash 489.95. A closes at 11, B at 20.
       Equity 489.95 + 550 = 1,039.95. No opinion.
bar 2  B opens at 22: 12.5 sold at 21.78 = 272.25, fee 2.7225. Cash 759.4775. A closes at 12, B at 22.
       Equity 759.4775 + 600 - 275 = 1,084.4775. Weights A 1, B 0: 1,084.4775 / 12 = 90.373125 A, so buy
       40.373125; buy 12.5 B.
bar 3  One night of borrow on 275: 0.275; cash 759.2025. A opens at 13, B at 22: at 13.13 and 22.22 with fees both cost
       815.9276, so each is cut to 0.93047775 of what was wanted. Cash 0.
bar 4  Two nights of borrow on 0.8690281 B at 22. Weights 0, 0 on the last bar: nothing can fill.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from knowable.backtest import Costs, Settings, simulate
from knowable.data.market import Market

NAN = math.nan


@pytest.fixture(scope="module")
def result():
    days = pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05", "2024-01-07"])

    def frame(a, b):
        return pd.DataFrame({"A": a, "B": b}, index=days)

    market = Market.from_frames(
        open=frame([10.0, 10.0, 11.0, 13.0, 12.0], [20.0, NAN, 22.0, 22.0, 21.0]),
        close=frame([10.0, 11.0, 12.0, 13.0, 12.0], [20.0, 20.0, 22.0, 22.0, 20.0]),
        missing="allow",
    )
    weights = np.array([[0.5, -0.25], [NAN, NAN], [1.0, 0.0], [NAN, NAN], [0.0, 0.0]])
    costs = Costs(fee_bps=100, slippage_bps=100, borrow_bps_year=3650)
    return simulate(weights, np.ones(5, bool), market, Settings(cash=1000.0, costs=costs), name="Hand")


def test_equity_and_cash(result):
    np.testing.assert_allclose(
        result.equity, [1000.0, 1039.95, 1084.4775, 1119.2432114498579, 1033.3767358251552], rtol=1e-11
    )
    np.testing.assert_allclose(result.cash, [1000.0, 489.95, 759.4775, 0.0, -0.0382372364247114], rtol=1e-9, atol=1e-9)


def test_orders_with_their_reasons(result):
    got = result.orders
    assert list(got.columns[:8]) == ["asset", "decision_time", "fill_time", "side", "size", "price", "fee", "reason"]
    days = result.index
    want = [
        ("A", 0, 1, "buy", 50.0, 10.10, 5.05, "filled"),
        ("B", 0, 2, "sell", 12.5, 21.78, 2.7225, "filled late"),
        ("A", 2, 3, "buy", 37.566294589401046, 13.13, 4.932454479588357, "cut to cash"),
        ("B", 2, 3, "buy", 11.630971899438377, 22.22, 2.5844019560552076, "cut to cash"),
        ("A", 4, None, "sell", 0.0, NAN, 0.0, "last bar"),
        ("B", 4, None, "buy", 0.0, NAN, 0.0, "last bar"),
    ]
    assert len(got) == len(want)
    for (_, row), (asset, decided, filled, side, size, price, fee, reason) in zip(got.iterrows(), want, strict=True):
        assert (row.asset, row.side, row.reason) == (asset, side, reason)
        assert row.decision_time == days[decided]
        assert pd.isna(row.fill_time) if filled is None else row.fill_time == days[filled]
        np.testing.assert_allclose([row["size"], row.price, row.fee], [size, price, fee], rtol=1e-11)
    np.testing.assert_allclose(got["wanted"].iloc[:4], [50.0, 12.5, 40.373125, 12.5], rtol=1e-12)


def test_costs_apart(result):
    np.testing.assert_allclose(result.costs["fees"], [0, 5.05, 2.7225, 7.5168564356435645, 0], rtol=1e-11)
    np.testing.assert_allclose(result.costs["slippage"], [0, 5.0, 2.75, 7.442432114498579, 0], rtol=1e-11)
    np.testing.assert_allclose(result.costs["borrow"], [0, 0, 0, 0.275, 0.0382372364247114], rtol=1e-9)
    assert (result.costs["spread"] == 0.0).all()


def test_trades_and_positions(result):
    assert len(result.trades) == 1
    trade = result.trades.iloc[0]
    assert (trade.asset, trade.entry_time, trade.exit_time) == ("B", result.index[2], result.index[3])
    closed = 11.630971899438377
    assert trade["size"] == pytest.approx(-closed, rel=1e-11)
    pnl = closed * (21.78 - 22.22) - 2.5844019560552076 - 2.7225 * closed / 12.5
    assert trade.pnl == pytest.approx(pnl, rel=1e-10)
    np.testing.assert_allclose(
        result.positions,
        [
            [0, 0],
            [50, 0],
            [50, -12.5],
            [87.56629458940104, -0.8690281005616227],
            [87.56629458940104, -0.8690281005616227],
        ],
        rtol=1e-10,
    )
    assert result.metrics["n_trades"] == 1
    assert result.metrics["win_rate"] == 0
    assert result.metrics["exposure"] == pytest.approx(0.8)
