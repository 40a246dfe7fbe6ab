"""Results of random runs of every kind, with gaps and all costs: what laws of results are tried on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import strategies as st

import knowable as kn
from knowable.data.market_actions import MarketActions

ASSETS = tuple("ABC")


def random_market(rng: np.random.Generator, n_bars: int, *, gaps: bool, zone: str | None) -> kn.Market:
    """Prices with highs, lows and volume; with gaps also assets that come late or leave, and bars without prices."""
    shape = (n_bars, len(ASSETS))
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, shape), axis=0))
    opens = close * np.exp(rng.normal(0.0, 0.01, shape))
    fields = {
        "open": opens,
        "high": np.maximum(opens, close) * np.exp(rng.random(shape) * 0.02),
        "low": np.minimum(opens, close) * np.exp(-rng.random(shape) * 0.02),
        "close": close,
        "volume": np.round(1e4 * np.exp(rng.normal(0.0, 1.0, shape))),
    }
    if gaps:
        rows = np.arange(n_bars)[:, None]
        missing = rng.random(shape) < 0.1
        missing |= rows < rng.integers(0, n_bars // 2, len(ASSETS)) * (rng.random(len(ASSETS)) < 0.4)
        missing |= rows >= n_bars - rng.integers(0, n_bars // 2, len(ASSETS)) * (rng.random(len(ASSETS)) < 0.3)
        fields = {name: np.where(missing | (rng.random(shape) < 0.05), np.nan, each) for name, each in fields.items()}
        for each in fields.values():
            each[n_bars // 2] = np.where(np.isnan(each[n_bars // 2]), 50.0, each[n_bars // 2])
        fields["high"] = np.fmax(fields["high"], np.fmax(fields["open"], fields["close"]))
        fields["low"] = np.fmin(fields["low"], np.fmin(fields["open"], fields["close"]))
    index = pd.bdate_range("2020-01-20", periods=n_bars, tz=zone, name="day" if zone else None)
    frames = {name: pd.DataFrame(each, index, list(ASSETS)) for name, each in fields.items()}
    frames["hard"] = pd.DataFrame(rng.random(shape) * 500, index, list(ASSETS))
    return kn.Market.from_frames(**frames, missing="allow")


def with_actions(market: kn.Market, rng: np.random.Generator) -> kn.Market:
    """The same prices as traded, with splits, dividends, a spin-off and an end of the last asset on random bars."""
    n = market.n_bars
    last = [int(np.flatnonzero(~np.isnan(column))[-1]) for column in market.final["close"].T]
    rows = [
        {"row": int(rng.integers(1, n)), "asset": int(rng.integers(0, 3)), "type": kind, **given}
        for kind, given in (
            ("split", {"ratio": float(rng.choice([2.0, 3.0, 0.1]))}),
            ("split", {"ratio": 1.5}),
            ("dividend", {"amount": 0.7}),
            ("dividend", {"amount": 2.0}),
        )
    ]
    rows.append({"row": int(rng.integers(1, n)), "asset": 0, "type": "spinoff", "ratio": 0.3, "successor": 1})
    end = (
        {"type": "delisting", "amount": 12.0} if rng.random() < 0.5 else {"type": "merger", "ratio": 0.4, "amount": 3.0}
    )
    if end["type"] == "merger":
        end["successor"] = 0
    if last[2] + 1 < n:
        rows.append({"row": last[2] + 1, "asset": 2, **end})
    plain = {
        "ratio": np.nan,
        "amount": np.nan,
        "currency": None,
        "successor": -1,
        "successor_id": None,
        "known_time": 0,
    }
    full = [
        {**plain, "last_row": last[row["asset"]], "event_time": int(market.times[row["row"]]), **row} for row in rows
    ]
    raw = {f"raw_{name}": values for name, values in market.panels.items() if name in ("open", "high", "low", "close")}
    return kn.Market.build(
        times=market.times,
        assets=market.assets,
        panels={**market.panels, **raw},
        actions=MarketActions.of(full),
        adjust="total_return",
    )


def by_weights(wanted: np.ndarray) -> kn.Strategy:
    class Weighted(kn.Strategy):
        size = kn.Float(0.0, 1.0, default=0.1)
        mode = kn.Choice(["a", None, 3], default=None)

        def weights(self, m):
            return wanted[: m.n_bars]

    return Weighted()


def by_signals(chance: np.ndarray) -> kn.Strategy:
    class Signalled(kn.Strategy):
        def signals(self, m):
            c = chance[: m.n_bars]
            more = {"stop": 0.04, "target": 0.05} if np.isfinite(m.final_panel("open")).all() else {}
            return kn.Signals(entry=c < 0.2, exit=c > 0.8, short_entry=(c > 0.4) & (c < 0.5), size=0.3, **more)

    return Signalled()


def by_bar(wanted: np.ndarray) -> kn.Strategy:
    class Stepped(kn.Strategy):
        def on_bar(self, bar, account):
            if bar.row % 3 == 0:
                account.target(0, np.nan_to_num(wanted[bar.row, 0]))
            elif bar.row % 3 == 1:
                account.order(1, round(50 * np.nan_to_num(wanted[bar.row, 1])))

    return Stepped()


@st.composite
def results(draw):
    """A result of a random run."""
    pick = st.sampled_from
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_bars = draw(st.integers(8, 60))
    market = random_market(rng, n_bars, gaps=draw(st.booleans()), zone=draw(pick([None, "UTC", "America/New_York"])))
    if draw(st.booleans()):
        market = with_actions(market, rng)
    wanted = rng.choice([-0.5, -0.2, 0.0, 0.2, 0.5, np.nan], (n_bars, len(ASSETS)))
    strategy = draw(pick([by_weights, by_weights, by_signals, by_bar]))
    costs = kn.Costs(
        fee_bps=draw(pick([0, 10, dict(zip(ASSETS, (1, 20, 0), strict=True))])),
        fee_min=draw(pick([0, 3.0])),
        half_spread_bps=draw(pick([0, 5])),
        slippage_bps=draw(pick([0, 7])),
        impact=draw(pick([0, 0.2])),
        borrow_bps_year=draw(pick([0, 300, dict(zip(ASSETS, (100, 0, 900), strict=True)), "hard"])),
        cash_rate=draw(pick([0, 0.03, -0.01])),
        margin_rate=draw(pick([0, 0.08])),
    )
    return kn.backtest(
        strategy(rng.random(wanted.shape) if strategy is by_signals else wanted),
        market,
        start=market.index[draw(st.integers(0, n_bars // 2))],
        cash=1e5,
        fill=draw(pick(["next_open", "next_close", "next_vwap", "close"])),
        costs=costs,
        lot=draw(pick([None, 1.0])),
        max_leverage=2.0,
        leverage_check="scale",
        volume_limit=draw(pick([None, None, 0.02])),
        maintenance_margin=draw(pick([0.0, 0.25])),
    )
