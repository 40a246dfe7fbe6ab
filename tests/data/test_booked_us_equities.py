"""Real splits, dividends and takeovers booked by an account, beside a holder followed slowly through the raw files.

The holder knows nothing of stores, markets or ledgers: it reads the captures with pandas, buys whole shares at the open
of the second day, and goes through the days with one number of shares and one of cash.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.backtest.settings import Settings
from knowable.backtest.simulate import simulate
from knowable.data.market import Market
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.experiments.benchmark import benchmark_path

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("KNOWABLE_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data" / "us-equities-2015-2017"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared data are not at {DATA}; set KNOWABLE_SHARED")

# As the companies announced them: (symbol, ex-date or first day without it, kind, shares per share, dollars a share).
DEEDS = [
    ("AAPL", "2015-05-07", "dividend", None, 0.52),
    ("AAPL", "2015-08-06", "dividend", None, 0.52),
    ("AAPL", "2015-11-05", "dividend", None, 0.52),
    ("AAPL", "2016-02-04", "dividend", None, 0.52),
    ("CHD", "2016-08-11", "dividend", None, 0.355),
    ("CHD", "2016-09-02", "split", 2.0, None),
    ("CHD", "2016-11-14", "dividend", None, 0.1775),
    ("CTRP", "2015-12-02", "split", 2.0, None),
    ("ACLS", "2016-07-01", "split", 0.25, None),
    ("BXC", "2016-06-14", "split", 0.1, None),
    ("KING", "2016-02-24", "merger", None, 18.00),  # bought by Activision Blizzard
    ("HSP", "2015-09-03", "merger", None, 90.00),  # bought by Pfizer
    ("PVA", "2016-01-13", "delisting", None, None),  # suspended by its exchange; its later price is not in these files
]
NAMES = sorted({deed[0] for deed in DEEDS})
CASH, WEIGHT = 1_000_003.0, 0.09


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    rows = pd.read_parquet(DATA / "prices.parquet")
    rows = rows[rows["symbol"].isin(NAMES)].drop_duplicates().sort_values(["symbol", "date", "captured_at"])
    return rows[(rows["date"] >= "2015-04-01") & (rows["date"] <= "2017-03-31") & (rows["close"] > 0)]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, raw: pd.DataFrame) -> Market:
    made = Store(tmp_path_factory.mktemp("store"))
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD", fields={"adj_close": "USD/share"}))
    columns = {"symbol": "entity", "date": "event_time", "captured_at": "known_time"}
    made.append("bars", raw, columns=columns, tz="UTC")
    made.create("actions", Schema.actions(calendar="XNYS", known_basis="assumed_lag"))
    frame = pd.DataFrame(DEEDS, columns=["entity", "event_time", "type", "ratio", "amount"]).assign(currency="USD")
    frame[["ratio", "amount"]] = frame[["ratio", "amount"]].astype(float)
    frame["known_time"] = pd.to_datetime(frame["event_time"]).dt.tz_localize("UTC") - pd.Timedelta("10D")
    assert made.append("actions", frame).accepted == len(DEEDS)
    return made.market("bars", decide="before_next_open", actions="actions")


def held_slowly(raw: pd.DataFrame, symbol: str, days: list[str], left: float) -> tuple[list[float], list[float]]:
    """Shares and cash of one name at each day's end; cash begins at 0 and goes below it for the purchase."""
    mine = raw[raw["symbol"] == symbol].drop_duplicates("date", keep="last").set_index("date")
    first = raw[(raw["symbol"] == symbol) & (raw["date"] == days[0])]
    shares, cash, last = 0.0, 0.0, float(first["close"].iloc[0])
    wanted = math.floor(CASH * WEIGHT / last)
    last = float(mine.loc[days[0], "close"])
    ends = mine.index[-1]
    share_path, cash_path = [], []
    for day in days:
        for _, ex, kind, ratio, amount in (deed for deed in DEEDS if deed[0] == symbol and deed[1] == day):
            if kind == "dividend":
                cash += shares * amount
            elif kind == "split":
                last /= ratio
                whole = math.floor(shares * ratio + 1e-9)
                cash += (shares * ratio - whole) * last
                shares = float(whole)
            else:
                assert ends < ex
                cash += shares * (amount if amount is not None else last * (1.0 + left))
                shares = 0.0
        if day == days[1]:
            shares = float(wanted)
            cash -= shares * float(mine.loc[day, "open"])
        last = float(mine["close"].get(day, last))
        share_path.append(shares)
        cash_path.append(cash)
    return share_path, cash_path


@pytest.mark.parametrize("left", [0.0, -0.3])
def test_shares_and_cash_are_those_of_a_holder_followed_by_hand(market: Market, raw: pd.DataFrame, left: float) -> None:
    weights = np.full(market.shape, np.nan)
    weights[0] = WEIGHT
    account = Settings(cash=CASH, lot=1.0, delisting_return=left)
    result = simulate(weights, np.ones(market.n_bars, bool), market, account)
    days = market.index.strftime("%Y-%m-%d").tolist()
    cash = np.full(len(days), CASH)
    for symbol in market.assets:
        shares, paid = held_slowly(raw, symbol, days, left)
        assert result.positions[symbol].tolist() == shares, symbol
        cash += paid
    np.testing.assert_allclose(result.cash, cash, rtol=1e-12)
    worth = result.positions * market_closes(raw, market, days)
    np.testing.assert_allclose(result.equity, cash + worth.sum(axis=1).to_numpy(), rtol=1e-12)
    kinds = result.flows["kind"].value_counts().to_dict()
    assert kinds == {"dividend": 6, "split": 4, "merger": 2}
    assert result.orders.iloc[-1]["reason"] == "delisted"
    fractions = result.flows[(result.flows["kind"] == "split") & (result.flows["cash"] > 0)]
    assert set(fractions["asset"]) <= {"ACLS", "BXC"}


def market_closes(raw: pd.DataFrame, market: Market, days: list[str]) -> np.ndarray:
    last = raw.drop_duplicates(["symbol", "date"], keep="last").pivot_table(
        index="date", columns="symbol", values="close"
    )
    return np.nan_to_num(last.reindex(days)[list(market.assets)].ffill().to_numpy())


def test_cash_dividends_and_reinvested_ones_differ_by_what_the_cash_would_have_earned(market: Market) -> None:
    """D a share, received at the close c of its day, would have grown with the share; as cash it does not."""
    j, n_bars = market.assets.index("AAPL"), market.n_bars
    weights = np.zeros(market.shape)
    weights[0, j] = 0.9
    weights[1:] = np.nan
    result = simulate(weights, np.ones(n_bars, bool), market, Settings(cash=1000.0))
    close, total = market.final_panel("raw_close")[:, j], market.final_panel("close")[:, j]
    shares, bought = result.positions["AAPL"].iloc[-1], result.orders["price"].iloc[0]
    rows = {r: a for r, a, i, t in zip(market.actions.row, market.actions.amount, market.actions.asset,
                                      market.actions.type, strict=True) if i == j and t == "dividend"}  # fmt: skip
    assert len(rows) == 4
    missed = sum(shares * amount * (total[-1] / total[row] - 1.0) for row, amount in rows.items())
    paid = 1000.0 - shares * bought
    reinvested = paid + shares * close[1] * total[-1] / total[1]
    assert reinvested - result.equity.iloc[-1] == pytest.approx(missed, rel=1e-9)
    path = benchmark_path(market, market.index, 1000.0, None)
    prices = pd.DataFrame(market.final_panel("close")).ffill()
    assert path.iloc[-1] == pytest.approx(1000.0 * (prices.iloc[-1] / prices.iloc[0]).mean())
