"""Random markets that hold everything at once, each as a slow market and as the same `Market`, and random accounts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from knowable.backtest.costs import Costs
from knowable.backtest.reasons import Reason
from knowable.backtest.settings import Settings
from knowable.data.market import Market
from knowable.data.market_actions import MarketActions
from knowable.testing.ledger_actions_oracle import SlowAction
from knowable.testing.money_oracle import SlowMarket

nan = math.nan
PRICES = ("open", "high", "low", "close")
WORDS = {
    Reason.SPLIT: "split",
    Reason.DIVIDEND: "dividend",
    Reason.SPUN_OFF: "spinoff",
    Reason.MERGED: "merger",
    Reason.DELISTED: "delisting",
}
HIGH = {"fee_bps": 40.0, "fee_per_share": 0.02, "fee_min": 5.0, "half_spread_bps": 30.0, "slippage_bps": 9.0,
        "impact": 0.2, "borrow_bps_year": 900.0}  # fmt: skip
RATES = {"cash_rate": [0.0, 0.05, -0.01], "margin_rate": [0.0, 0.1]}


@dataclass(frozen=True)
class Case:
    """A slow market, the same as a `Market`, an account, and target weights with the rows to decide on."""

    slow: SlowMarket
    market: Market
    weights: np.ndarray
    decide: np.ndarray
    account: Settings
    on_change: bool
    start: int
    stop: int

    @property
    def span(self) -> dict[str, int]:
        """The rows that are run."""
        return {"start": self.start, "stop": self.stop}

    def slow_account(self) -> tuple[SlowMarket, Settings]:
        """As the slow ledger takes them: costs by asset are panels to it."""
        costs = {name: getattr(self.account.costs, name) for name in Costs.__slots__}
        by_asset = {name: value for name, value in costs.items() if isinstance(value, dict)}
        rows = {name: [list(value.values())] * len(self.slow.close) for name, value in by_asset.items()}
        named = replace(self.account, costs=Costs(**{**costs, **{name: name for name in by_asset}}))
        return replace(self.slow, panels={**self.slow.panels, **rows}), named


@st.composite
def cases(draw):
    """See `Case`."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_bars, n_assets = draw(st.sampled_from([24, 12, 3])), int(rng.integers(1, 6))
    shape = (n_bars, n_assets)
    bars = prices(draw, rng, shape)
    weights = rng.choice([0.0, 0.2, 0.25, -0.2, 0.3, -0.1, nan], shape)
    if draw(st.booleans()):  # full of one thing: borrowing and cuts
        full = draw(st.sampled_from([1.0, 1.0, 2.0, -1.0])) / n_assets
        weights = np.where(rng.random(shape) < 0.3, weights, full)
    if draw(st.booleans()):  # the same row for some bars
        weights = weights[np.maximum.accumulate(np.where(rng.random(n_bars) < 0.3, np.arange(n_bars), 0))]
    decide = rng.random(n_bars) < draw(st.sampled_from([0.3, 1.0]))
    slow = SlowMarket(close=bars["close"].tolist())
    contracts(draw, rng, slow, bars["close"])
    slow.actions = actions(rng, slow, bars) if draw(st.booleans()) else ()
    if draw(st.booleans()):
        slow.rates, slow.currency = currencies(rng, bars)
        slow.paid_in = rng.choice(np.array([None, None, "EUR", "JPY", "USD"]), len(slow.actions)).tolist()
    names = [f"A{j}" for j in range(n_assets)]
    costs, slow.panels = priced(draw, rng, bars["close"], names)
    account = accounts(draw, costs)
    volume = rng.uniform(1.0, 300.0, shape)
    volume[rng.random(shape) < 0.1] = draw(st.sampled_from([0.0, nan]))
    slow.volume = volume.tolist() if account.volume_limit is not None or costs.impact else None
    for name, panel in bars.items():
        setattr(slow, name, panel.tolist())
    if draw(st.booleans()):  # revised later, or late
        seen = np.where(rng.random(shape) < 0.3, np.exp(rng.normal(0.0, 0.2, shape)), 1.0) * bars["close"]
        seen[rng.random(shape) < 0.2] = nan
        slow.seen = seen.tolist()
    if draw(st.booleans()):
        slow.members = (rng.random(shape) < 0.8).tolist()
    calendar, times, days = clock(draw, rng, n_bars)
    slow.days = [0.0, *np.diff(days.astype("M8[D]").astype(int)).astype(float)]
    market = market_of(slow, times, calendar, names, volume, factor=draw(st.sampled_from([0.0, 0.5])))
    slow.actions = [ends(a, account) for a in slow.actions]
    start, stop = 0, n_bars
    if draw(st.booleans()):
        start = int(rng.integers(0, n_bars - 1))
        stop = int(rng.integers(start + 2, n_bars + 1))
    return Case(slow, market, weights, decide, account, draw(st.booleans()), start, stop)


def prices(draw, rng, shape):
    """Field -> quotes, some without a vwap, with gaps in each field by itself, and columns that begin late."""
    n_bars, n_assets = shape
    move = rng.normal(0.0, draw(st.sampled_from([0.01, 0.1, 0.5])), shape)
    close = draw(st.sampled_from([1.0, 50.0])) * np.exp(np.cumsum(move, axis=0))
    open_ = close * np.exp(rng.normal(0.0, draw(st.sampled_from([0.03, 0.3])), shape))
    made = {
        "open": open_,
        "high": np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.02, shape))),
        "low": np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.02, shape))),
        "close": close,
    }
    if draw(st.booleans()):
        made["vwap"] = rng.uniform(made["low"], made["high"])
    if draw(st.booleans()):
        for panel in made.values():
            panel[rng.random(shape) < 0.12] = nan
        late = (np.arange(n_bars)[:, None] < rng.integers(0, 9, n_assets)) & (rng.random(n_assets) < 0.4)
        for panel in made.values() if draw(st.booleans()) else [close]:
            panel[late] = nan
        close[late] = nan
    return made


def contracts(draw, rng, slow, close):
    """What the columns are: multipliers, futures, their funding and rolls."""
    shape = close.shape
    if draw(st.booleans()):
        slow.multiplier = rng.choice([1.0, 5.0, 0.1], shape[1]).tolist()
    if draw(st.booleans()):
        slow.unfunded = frozenset(np.flatnonzero(rng.random(shape[1]) < 0.5).tolist())
        slow.funding = np.where(rng.random(shape) < 0.1, rng.normal(0.0, 0.003, shape), nan).tolist()
        rolled = np.isin(np.arange(shape[1]), list(slow.unfunded)) & ~(close < 0.5).any(axis=0)
        slow.roll = np.where((rng.random(shape) < 0.1) & rolled, rng.integers(0, 20, shape) / 64.0, nan).tolist()


def currencies(rng, bars):
    """Rates by currency, missing on some bars on which nothing in it has a price, and the currency of each column."""
    n_bars, n_assets = bars["close"].shape
    currency = rng.choice(np.array([None, "EUR", "JPY"]), n_assets).tolist()
    priced = ~np.all([np.isnan(panel) for panel in bars.values()], axis=0)
    rates = {}
    for name in ("EUR", "JPY"):
        rate = np.exp(np.cumsum(rng.normal(0.0, 0.1, n_bars)))
        needed = priced[:, [each == name for each in currency]].any(axis=1)
        rate[~needed & (rng.random(n_bars) < 0.8)] = nan
        rates[name] = rate.tolist()
    return rates, currency


def actions(rng, slow, bars):
    """Some on random rows, in quotes, as announced; what is over has no prices from there on. Ratios are powers of two,
    for the slow market divides a close that stands by each in turn and the market by all of them at once."""
    n_bars, n_assets = bars["close"].shape
    found, over = [], {}
    for row in sorted(rng.integers(1, n_bars, rng.integers(0, 9)).tolist()):
        j, kind = int(rng.integers(n_assets)), list(WORDS)[rng.integers(len(WORDS))]
        others = [k for k in range(n_assets) if k != j and over.get(k, n_bars) > row]
        if over.get(j, n_bars) <= row:
            continue
        numbers = {"ratio": float(rng.choice([2.0, 0.5, 4.0]))}
        if kind is Reason.DIVIDEND:
            numbers = {"amount": float(rng.choice([0.5, 2.0]))}
        elif kind is Reason.DELISTED:
            numbers = {"amount": float(rng.choice([nan, 3.0]))}
        elif kind is Reason.MERGED:
            numbers["amount"] = float(rng.choice([nan, 2.0]))
            numbers |= {"other": int(rng.choice(others))} if others and rng.random() < 0.7 else {"ratio": nan}
        elif kind is Reason.SPUN_OFF:
            if not others:
                continue
            numbers["other"] = int(rng.choice(others))
        said = row
        if kind in (Reason.MERGED, Reason.DELISTED):
            over[j] = row
            for panel in bars.values():
                panel[row:, j] = nan
            said = max(row - int(rng.integers(0, 3)), 1)
        found.append(SlowAction(row=said, asset=j, kind=kind, **numbers))
    return found


def ends(action, account):
    """A delisting, or a takeover for cash, with what it is worth of the last close where nobody knows its value."""
    if action.kind is Reason.DELISTED:
        return replace(action, ratio=1.0 + account.delisting_return)
    return replace(action, ratio=1.0) if action.kind is Reason.MERGED and action.other < 0 else action


def priced(draw, rng, close, names):
    """Costs, each a number, one by asset, or a field of the market; and these fields, missing where no close is."""
    made, panels = {}, {}
    for name, high in HIGH.items():
        how = draw(st.sampled_from(["none", "none", "number", "asset", "field"]))
        if how == "number":
            made[name] = float(rng.uniform(0.0, high))
        elif how == "asset":
            made[name] = dict(zip(names, rng.uniform(0.0, high, len(names)).tolist(), strict=True))
        elif how == "field":
            field = rng.uniform(0.0, high, close.shape)
            panels[name] = np.where(np.isnan(close) & (rng.random(close.shape) < 0.5), nan, field).tolist()
            made[name] = name
    for name, numbers in RATES.items():
        made[name] = draw(st.sampled_from([*numbers, name]))
        if made[name] == name:
            panels[name] = rng.uniform(min(numbers), max(numbers), close.shape).tolist()
    return Costs(**made), panels


def accounts(draw, costs):
    amount = st.sampled_from
    return Settings(
        cash=1000.0,
        fill=draw(amount(["next_open", "next_close", "next_vwap", "close"])),
        size_at=draw(amount(["decision", "fill"])),
        costs=costs,
        lot=draw(amount([None, 1.0, 0.1, 5.0])),
        max_leverage=draw(amount([1.0, 2.0])),
        leverage_check="scale",
        intrabar=draw(amount(["pessimistic", "ohlc", "olhc"])),
        exit_on_entry_bar=draw(st.booleans()),
        volume_limit=draw(amount([None, None, 0.1, 0.5])),
        maintenance_margin=draw(amount([0.0, 0.0, 0.3])),
        delisting_return=draw(amount([0.0, -0.3])),
    )


@st.composite
def preset_accounts(draw):
    amount = st.sampled_from
    preset = draw(amount(["vectorbt", "backtesting"]))
    costs = {"fee_bps": draw(amount([0, 10])), "half_spread_bps": draw(amount([0, 7]))}
    if preset == "vectorbt":
        costs["slippage_bps"] = draw(amount([0, 4]))
    return Settings(
        cash=1000.0,
        preset=preset,
        costs=Costs(**costs),
        lot=draw(amount([None, 1.0, 0.1])),
        leverage_check="scale",
        intrabar=draw(amount(["pessimistic", "ohlc", "olhc"])),
        exit_on_entry_bar=draw(st.booleans()),
        delisting_return=draw(amount([0.0, -0.3])),
    )


def under(case, account):
    """A case with another account, which asks for no volume."""
    slow = replace(case.slow, volume=None, actions=[ends(a, account) for a in case.slow.actions])
    return replace(case, slow=slow, account=account)


def clock(draw, rng, n_bars):
    """A calendar, the ends of bars, and the day each belongs to."""
    calendar = draw(st.sampled_from([None, "24/7", "XNYS"]))
    if calendar == "XNYS":  # closes at 21:00 UTC all winter
        days = pd.bdate_range("2021-01-19", "2021-03-12").drop("2021-02-15").to_numpy()
        days = np.sort(rng.choice(days, n_bars, replace=False))
        return calendar, pd.DatetimeIndex(days) + pd.Timedelta("21h"), days
    hours = np.cumsum(rng.choice([1, 24, 72], n_bars))
    times = pd.Timestamp("2020-01-01") + pd.to_timedelta(hours, unit="h")
    ended = times if calendar is None else times - pd.Timedelta(1, "ns")  # midnight ends the day
    return calendar, times, ended.normalize().to_numpy()


def market_of(slow, times, calendar, names, volume, factor):
    """The market of a slow one. With actions and a `factor` its prices are adjusted by some panel, beside the raw."""
    shape = np.shape(slow.close)
    final = {name: getattr(slow, name) for name in (*PRICES, "vwap") if getattr(slow, name)} | {"volume": volume}
    seen = {"close": slow.seen} if slow.seen else {}
    adjust = "total_return" if slow.actions and factor else "none"
    if adjust != "none":
        by = factor ** np.arange(shape[0])[::-1, None]
        seen = {f"raw_{name}": panel for name, panel in seen.items()}
        raw = {f"raw_{name}": panel for name, panel in final.items()}
        final = {name: np.array(panel) * by for name, panel in final.items()} | raw
    final |= slow.panels
    if slow.multiplier:
        final["multiplier"] = np.tile(slow.multiplier, (shape[0], 1))
    if slow.unfunded:
        final["funded"] = np.tile([float(j not in slow.unfunded) for j in range(shape[1])], (shape[0], 1))
    if slow.members:
        final["universe"] = np.array(slow.members, dtype=float)
    final |= {name: getattr(slow, name) for name in ("funding", "roll") if getattr(slow, name)}
    final = {name: np.array(values, dtype=float) for name, values in final.items()}
    paid_in = slow.paid_in or [None] * len(slow.actions)
    rows = [
        {
            "row": a.row, "asset": a.asset, "type": WORDS[a.kind], "ratio": a.ratio, "amount": a.amount,
            "currency": paid_in[k], "successor": a.other, "successor_id": None, "known_time": 0, "event_time": k,
            "last_row": max(np.flatnonzero(~np.isnan(np.array(slow.close)[:, a.asset])), default=-1),
        }
        for k, a in enumerate(slow.actions)
    ]  # fmt: skip
    market = Market.build(
        times=times.as_unit("ns").asi8,
        assets=tuple(names),
        panels=final | {name: np.array(values) for name, values in seen.items()},
        final=final if seen else None,
        calendar=calendar,
        actions=MarketActions.of(rows),
        adjust=adjust,
    )
    if not slow.currency:
        return market
    abroad = {asset: name for asset, name in zip(names, slow.currency, strict=True) if name is not None}
    return market.with_currencies(abroad, rates=pd.DataFrame(slow.rates, index=market.index), base="USD")
