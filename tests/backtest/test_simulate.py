"""Fills, marks, scores, warnings and tables of whole runs."""

from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from knowable.backtest import Costs, Ending, Reason, Settings, score, simulate
from knowable.data.market import Market
from knowable.errors import DataError, InputError, ShapeError
from knowable.kernels.ledger import ledger_kernel
from knowable.kernels.scoring import score_kernel

NAN = math.nan


def prices(n_bars=300, n_assets=4, seed=3):
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2020-01-01", periods=n_bars)
    names = [f"S{k}" for k in range(n_assets)]
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (n_bars, n_assets)), axis=0))
    opens = close * np.exp(rng.normal(0.0, 0.004, close.shape))
    high, low = np.maximum(opens, close) * 1.002, np.minimum(opens, close) * 0.998
    return {
        name: pd.DataFrame(values, index=days, columns=names)
        for name, values in {"open": opens, "high": high, "low": low, "close": close}.items()
    }


@pytest.fixture(scope="module")
def market():
    return Market.from_frames(**prices())


def one_asset(close, opens=None):
    days = pd.bdate_range("2024-01-01", periods=len(close))
    fields = {"close": close, "open": close if opens is None else opens}
    return Market.from_frames(**{k: pd.DataFrame({"A": v}, index=days, dtype=float) for k, v in fields.items()})


def hold(weights, market, **account):
    panel = np.asarray(weights, float).reshape(market.shape)
    return simulate(panel, np.ones(market.n_bars, bool), market, Settings(**account), on_change=True)


@pytest.mark.parametrize("fill", ["next_open", "next_close", "next_vwap", "close"])
def test_fill_uses_the_price_its_name_says_and_not_the_signals_close(market, fill):
    weights = np.full(market.shape, NAN)
    weights[10] = 0.2
    got = hold(weights, market, fill=fill)
    final = market.final
    want = {
        "next_open": final["open"][11],
        "next_close": final["close"][11],
        "next_vwap": (final["high"][11] + final["low"][11] + final["close"][11]) / 3.0,
        "close": final["close"][10],
    }[fill]
    assert got.orders["price"].tolist() == want.tolist()
    assert (got.orders["decision_time"] == market.index[10]).all()
    assert (got.orders["fill_time"] == market.index[10 if fill == "close" else 11]).all()
    assert any("Optimistic" in sentence for sentence in got.warnings) == (fill == "close")


def test_a_vwap_field_is_used_where_there_is_one():
    fields = prices(20)
    market = Market.from_frames(**fields, vwap=fields["close"] * 1.001)
    weights = np.full(market.shape, NAN)
    weights[3] = 0.1
    assert hold(weights, market, fill="next_vwap").orders["price"].tolist() == market.final["vwap"][4].tolist()


def test_a_vwap_is_checked_like_the_prices_it_stands_among():
    fields = prices(20)
    vwap = fields["close"].copy()
    vwap.iloc[4, 1] = 0.0
    with pytest.raises(DataError, match="`vwap` of 'S1' is not a positive price .*row 4"):
        Market.from_frames(**fields, vwap=vwap)
    vwap.iloc[4, 1] = NAN
    with pytest.raises(DataError, match="`vwap` of 'S1' is NaN .*inside its history"):
        Market.from_frames(**fields, vwap=vwap)
    Market.from_frames(**fields, vwap=vwap, missing="allow")


@pytest.mark.parametrize(("fill", "field"), [("next_open", "open"), ("next_vwap", "high")])
def test_a_missing_field_is_named_with_the_remedy(fill, field):
    market = Market.from_frames(close=prices(20)["close"])
    with pytest.raises(InputError, match=f"needs the field '{field}'.*\n.*Market.from_frames") as error:
        hold(np.zeros(market.shape), market, fill=fill)
    assert str(error.value).count("\n") < 12


def test_size_at_decision_uses_the_decisions_close_and_at_fill_the_fills_price():
    market = one_asset([10.0, 11.0, 11.0], [10.0, 12.5, 11.0])
    weights = [0.5, NAN, NAN]
    assert hold(weights, market, cash=1000).orders["size"].tolist() == [50.0]
    assert hold(weights, market, cash=1000, size_at="fill").orders["size"].tolist() == [40.0]


def test_lots_round_toward_zero_on_both_sides():
    market = one_asset([10.0, 10.0, 10.0, 10.0])
    got = hold([0.37, NAN, -0.37, NAN], market, cash=1000, lot=10)
    assert got.positions["A"].tolist() == [0.0, 30.0, 30.0, -30.0]


def test_a_pending_order_waits_for_a_price_and_keeps_its_size():
    days = pd.bdate_range("2024-01-01", periods=5)
    frame = lambda values: pd.DataFrame({"A": values}, index=days)  # noqa: E731
    market = Market.from_frames(close=frame([10.0] * 5), open=frame([10.0, NAN, NAN, 20.0, 10.0]), missing="allow")
    got = hold([0.5, NAN, NAN, NAN, NAN], market, cash=1000)
    (order,) = got.orders.itertuples()
    assert (order.reason, order.size, order.fill_time) == (Reason.LATE, 50.0, days[3])


def test_on_change_acts_on_new_rows_only_and_without_it_every_row_rebalances():
    market = one_asset([10.0, 12.0, 9.0, 13.0, 11.0])
    weights = np.full((5, 1), 0.5)
    decide = np.ones(5, bool)
    assert len(simulate(weights, decide, market, Settings(), on_change=True).orders) == 1
    assert len(simulate(weights, decide, market, Settings(), on_change=False).orders) == 5


def test_a_run_on_some_rows_starts_there_with_nothing_but_cash(market):
    weights = np.random.default_rng(0).uniform(0.0, 0.25, market.shape)
    decide = np.ones(market.n_bars, bool)
    account = Settings(costs=Costs(fee_bps=5, borrow_bps_year=100))
    part = simulate(weights, decide, market, account, start=100, stop=200)
    alone = {name: frame.iloc[100:200] for name, frame in prices().items()}
    want = simulate(weights[100:200].copy(), decide[100:200], Market.from_frames(**alone), account)
    assert part.equity.to_numpy().tobytes() == want.equity.to_numpy().tobytes()
    assert part.index.equals(market.index[100:200])


@pytest.mark.parametrize(
    "account",
    [
        {},
        {"fill": "close", "size_at": "fill", "costs": Costs(fee_bps=10, half_spread_bps=3, slippage_bps=5)},
        {"lot": 1.0, "costs": Costs(fee_min=1, borrow_bps_year=300), "leverage_check": "scale"},
        {"preset": "vectorbt"},
        {"preset": "backtesting"},
    ],
)
@pytest.mark.parametrize("on_change", [False, True])
def test_scores_have_the_bits_of_the_full_run(market, account, on_change):
    rng = np.random.default_rng(5)
    trials = [rng.choice([0.0, 0.25, 0.2, NAN], market.shape) for _ in range(5)]
    trials[3] = np.full(market.shape, NAN)
    decide = rng.random(market.n_bars) < 0.5
    settings = Settings(**account)
    for given in (trials, np.stack(trials)):
        scores = score(given, decide, market, settings, start=20, stop=290, on_change=on_change)
        assert scores.errors == (None,) * 5
        for k, weights in enumerate(trials):
            full = simulate(weights, decide, market, settings, start=20, stop=290, on_change=on_change)
            assert np.array(list(full.metrics.values())).tobytes() == scores.metrics[k].tobytes()
            assert scores.moments[k, :, 1].sum() == pytest.approx(full.returns.sum(), abs=1e-12)


def test_any_number_of_threads_gives_the_same_scores(market):
    rng = np.random.default_rng(6)
    trials = [rng.uniform(0.0, 0.25, market.shape) for _ in range(24)]
    decide = np.ones(market.n_bars, bool)
    alone = score(trials, decide, market, Settings()).metrics
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda k: score(trials[k : k + 3], decide, market, Settings()).metrics, range(0, 24, 3)))
    assert np.concatenate(parts).tobytes() == alone.tobytes()


def test_large_panels_are_scored_one_by_one_to_the_same_bits(market, monkeypatch):
    trials = list(np.random.default_rng(1).uniform(0.0, 0.25, (4, *market.shape)))
    decide = np.ones(market.n_bars, bool)
    together = score(trials, decide, market, Settings())
    monkeypatch.setattr(sys.modules[simulate.__module__], "_STACK_BYTES", 1)
    assert score(trials, decide, market, Settings()).metrics.tobytes() == together.metrics.tobytes()


def test_each_kernel_has_compiled_once(market):
    weights = np.zeros(market.shape)
    decide = np.ones(market.n_bars, bool)
    simulate(weights, decide, market, Settings())
    score([weights, weights], decide, market, Settings(preset="backtesting"), start=3)
    if hasattr(ledger_kernel, "signatures"):
        assert len(ledger_kernel.signatures) == len(score_kernel.signatures) == 1


def test_leverage_is_checked_before_anything_runs(market):
    weights = np.zeros(market.shape)
    weights[7] = 0.5
    decide = np.ones(market.n_bars, bool)
    with pytest.raises(InputError, match=r"row 7 \(2020-01-10.*the sum is 2 and max_leverage=1"):
        simulate(weights, decide, market, Settings())
    scores = score([weights, np.zeros(market.shape)], decide, market, Settings())
    assert scores.errors[0] is not None
    assert "the sum is 2" in scores.errors[0]
    assert scores.errors[1] is None
    assert np.isnan(scores.metrics[0]).all()
    scaled = simulate(weights, decide, market, Settings(leverage_check="scale"))
    assert scaled.positions.iloc[8].gt(0).all()
    decide[7] = False
    assert len(simulate(weights, decide, market, Settings()).orders) == 0


@pytest.mark.parametrize("check", ["strict", "scale"])
def test_an_infinite_weight_is_refused(market, check):
    weights = np.zeros(market.shape)
    weights[9, 2] = math.inf
    with pytest.raises(InputError, match="row 9 .* infinite"):
        simulate(weights, np.ones(market.n_bars, bool), market, Settings(leverage_check=check))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w, d: (w[:-1], d), "weights"),
        (lambda w, d: (w, d[:-1]), "decide"),
        (lambda w, d: (w, d.astype(float)), "bool"),
    ],
)
def test_what_does_not_fit_the_market_is_refused(market, change, says):
    weights, decide = change(np.zeros(market.shape), np.ones(market.n_bars, bool))
    with pytest.raises(ShapeError, match=says):
        simulate(weights, decide, market, Settings())


def test_rows_outside_the_market_are_refused(market):
    with pytest.raises(InputError, match="start=5 and stop=5"):
        simulate(np.zeros(market.shape), np.ones(market.n_bars, bool), market, Settings(), start=5, stop=5)


def test_borrowing_needs_leverage():
    market = one_asset([10.0, 10.0, 20.0, 20.0])
    with pytest.raises(InputError, match="max_leverage"):
        hold([2.0, NAN, NAN, NAN], market)
    got = hold([2.0, NAN, NAN, NAN], market, cash=1000, max_leverage=2)
    assert got.cash.tolist() == [1000.0, -1000.0, -1000.0, -1000.0]
    assert got.equity.tolist() == [1000.0, 1000.0, 3000.0, 3000.0]


def test_an_account_that_comes_to_nothing_is_liquidated_and_says_so():
    market = one_asset([10.0, 10.0, 25.0, 26.0, 5.0])
    got = hold([-1.0, NAN, NAN, 1.0, 1.0], market, cash=1000)
    assert got.ending is Ending.LIQUIDATED
    assert got.orders["reason"].tolist() == [Reason.FILLED, Reason.LIQUIDATED]
    assert got.equity.tolist() == [1000.0, 1000.0, -500.0, -600.0, -600.0]
    assert any(sentence.startswith("Liquidated at 2024-01-03") for sentence in got.warnings)
    assert got.metrics["annual_return"] == -1.0
    assert math.isnan(got.metrics["sharpe"])
    assert got.returns.tolist() == [0.0, 0.0, -1.5, 0.0, 0.0]


def test_warnings_for_what_is_empty_or_too_good(market):
    def said(weights, of=market, **account):
        return " ".join(hold(weights, of, **account).warnings)

    assert "never asked for anything but cash" in said(np.zeros(market.shape))
    assert "Not defined for this result: sharpe" in said(np.zeros(market.shape))
    last = np.full(market.shape, NAN)
    last[-1] = 0.2
    assert "all 4 came to nothing" in said(last)
    kept = np.full(market.shape, NAN)
    kept[0] = 0.2
    assert "still held" in said(kept)
    rising = one_asset(list(100.0 * np.cumprod(1.0 + np.tile([0.01, 0.012], 50))))
    assert "Sharpe" in said(np.r_[1.0, np.full(99, NAN)], rising)
    gap = one_asset([10.0, 10.0, 10.0], [10.0, 15.0, 10.0])
    assert "cut by more than a tenth" in said([1.0, NAN, NAN], gap)


def test_trades_agree_with_the_ledgers_own_count(market):
    rng = np.random.default_rng(9)
    weights = rng.choice([0.0, 0.2, -0.2, 0.25, NAN], market.shape)
    got = simulate(
        weights, np.ones(market.n_bars, bool), market, Settings(costs=Costs(fee_bps=7, fee_min=2)), on_change=False
    )
    assert got.metrics["n_trades"] == len(got.trades)
    assert got.metrics["win_rate"] == (got.trades["pnl"] > 0).mean()
    held = got.positions.iloc[-1].to_numpy()
    filled = got.orders[got.orders["size"] > 0]
    signed = filled["size"].where(filled["side"] == "buy", -filled["size"])
    want = signed.groupby(filled["asset"]).sum().reindex(got.assets).fillna(0).to_numpy()
    np.testing.assert_allclose(held, want, atol=1e-6)
    assert got.metrics["exposure"] == (got.positions != 0).any(axis=1).mean()
    # closed profit and what is still open make up all of the gain
    marks = market.final["close"][-1]
    open_cost = 0.0
    for j, name in enumerate(got.assets):
        mine = got.trades[got.trades["asset"] == name]["pnl"].sum()
        cash_flow = (
            -(signed * filled["price"])[filled["asset"] == name].sum() - filled["fee"][filled["asset"] == name].sum()
        )
        open_cost += cash_flow + held[j] * marks[j] - mine
    assert got.equity.iloc[-1] - 1e6 == pytest.approx(got.trades["pnl"].sum() + open_cost, rel=1e-9)


def test_the_tables_of_a_run_without_orders_are_empty_and_whole(market):
    got = hold(np.zeros(market.shape), market)
    assert len(got.orders) == len(got.trades) == 0
    assert list(got.trades.columns) == [
        "asset",
        "entry_time",
        "exit_time",
        "size",
        "entry_price",
        "exit_price",
        "pnl",
        "bars",
        "mae",
        "mfe",
    ]
    assert (got.positions == 0).all().all()
    assert got.orders["fill_time"].dtype == got.trades["entry_time"].dtype == market.index.dtype


def test_result_reads_well_and_compares(market):
    got = hold(np.full(market.shape, 0.2), market, cash=1000)
    text = repr(got)
    assert "total_return" in text
    assert "sharpe" in text
    assert got._repr_html_().startswith("<b>")
    index = pd.Series(market.final["close"][:, 0], index=market.index)
    table = got.compare(index)
    assert table.loc["total_return", "benchmark"] == pytest.approx(index.iloc[-1] / index.iloc[0] - 1)
    with pytest.raises(ShapeError, match="no value by 2020-01-01"):
        got.compare(index.iloc[1:])
    with pytest.raises(InputError, match="Series"):
        got.compare([1.0])


def test_report_is_one_file(market, tmp_path):
    got = hold(np.full(market.shape, 0.2), market)
    path = got.report(tmp_path / "r.html", benchmark=pd.Series(market.final["close"][:, 0], index=market.index))
    assert "<html" in path.read_text(encoding="utf-8")[:2000].lower()


def every_bar(weights, market, **account):
    panel = np.asarray(weights, float).reshape(market.shape)
    return simulate(panel, np.ones(market.n_bars, bool), market, Settings(**account), on_change=False)


def frames(**fields):
    """Panels of a few assets, a list of columns each."""
    n_bars = len(next(iter(fields.values()))[0])
    days = pd.bdate_range("2024-01-01", periods=n_bars)
    made = {name: pd.DataFrame(np.transpose(columns), index=days, dtype=float) for name, columns in fields.items()}
    return {name: frame.set_axis([f"S{k}" for k in range(frame.shape[1])], axis=1) for name, frame in made.items()}


def restated(market, **known):
    """The market whose panels were first known as given, and whose final values are its own."""
    seen = {name: np.asarray(known[name], float) if name in known else values for name, values in market.final.items()}
    return market.with_panels(seen, final=dict(market.final))


def test_size_at_decision_uses_the_close_known_then_not_its_restatement():
    market = restated(one_asset([100.0, 50.0, 50.0, 50.0]), close=[[100.0], [100.0], [50.0], [50.0]])
    got = hold([NAN, 0.5, NAN, NAN], market, cash=1000)
    assert got.orders["size"].tolist() == [5.0]
    assert got.equity.tolist() == [1000.0, 1000.0, 1000.0, 1000.0]
    assert hold([NAN, 0.5, NAN, NAN], market, cash=1000, size_at="fill").orders["size"].tolist() == [10.0]


def test_a_close_not_known_by_the_decision_leaves_the_one_before_it():
    market = restated(one_asset([80.0, 50.0, 50.0, 50.0]), close=[[80.0], [NAN], [50.0], [50.0]])
    assert hold([NAN, 0.5, NAN, NAN], market, cash=1000).orders["size"].tolist() == [6.25]
    # also where the run starts on the bar that was not known
    weights = np.array([[NAN], [0.5], [NAN], [NAN]])
    got = simulate(weights, np.ones(4, bool), market, Settings(cash=1000.0), start=1)
    assert got.orders["size"].tolist() == [6.25]


def test_equity_at_the_decision_counts_positions_at_the_closes_known_then():
    """10 shares bought at 50; at bar 2 their close is known as 100, so equity as 1,500, though it ends as 50."""
    market = restated(one_asset([50.0] * 5), close=[[50.0], [50.0], [100.0], [50.0], [50.0]])
    got = hold([0.5, NAN, 0.4, NAN, NAN], market, cash=1000)
    assert got.positions["A"].tolist() == [0.0, 10.0, 10.0, 6.0, 6.0]  # 0.4 x 1,500 / 100
    assert got.equity.tolist() == [1000.0] * 5


def test_what_was_never_revised_is_sized_to_the_same_bits(market):
    weights = np.random.default_rng(2).uniform(0.0, 0.25, market.shape)
    copied = market.with_panels({name: values.copy() for name, values in market.panels.items()}, market.final)
    one, other = (every_bar(weights, one) for one in (market, copied))
    assert one.equity.to_numpy().tobytes() == other.equity.to_numpy().tobytes()
    decide = np.ones(market.n_bars, bool)
    late = market.panels["close"].copy()
    late[50:60] = NAN
    revised = restated(market, close=late)
    full = simulate(weights, decide, revised, Settings())
    assert full.metrics["total_return"] != one.metrics["total_return"]
    scores = score([weights], decide, revised, Settings())
    assert np.array(list(full.metrics.values())).tobytes() == scores.metrics[0].tobytes()


@pytest.mark.parametrize(("preset", "shares"), [(None, 100.0), ("backtesting", 99.0)])
def test_a_fill_before_the_first_close_is_marked_at_its_own_price(preset, shares):
    fields = frames(open=[[NAN, 10.0, 10.0, 11.0, 12.0, 12.0]], close=[[NAN, NAN, NAN, NAN, 12.0, 12.0]])
    market = Market.from_frames(**fields, missing="allow")
    got = hold(np.ones(6), market, cash=1000, size_at="fill", preset=preset)
    assert got.ending is Ending.COMPLETED
    assert got.positions["S0"].tolist() == [0.0] + [shares] * 5
    assert got.equity.tolist() == [1000.0] * 4 + [1000.0 + 2.0 * shares] * 2


@pytest.mark.parametrize("size_at", ["decision", "fill"])
def test_a_run_that_starts_in_a_gap_marks_at_the_last_close_before_it(size_at):
    close = [[10.0, 10.0, NAN, NAN, 12.0], [NAN, NAN, NAN, 5.0, 5.0], [3.0, NAN, NAN, 4.0, 4.0]]
    fields = frames(open=[[10.0] * 5, [5.0] * 5, [3.0] * 5], close=close)
    market = Market.from_frames(**fields, missing="allow")
    weights = np.tile([1.0, 0.0, 0.0], (5, 1))
    for start, want in ((2, [1000.0, 1000.0, 1200.0]), (3, [1000.0, 1200.0])):
        got = simulate(
            weights,
            np.ones(5, bool),
            market,
            Settings(cash=1000.0, size_at=size_at),
            start=start,
            on_change=True,
        )
        assert got.ending is Ending.COMPLETED
        assert got.equity.tolist() == want
        scores = score([weights], np.ones(5, bool), market, Settings(cash=1000.0, size_at=size_at), start=start)
        assert scores.metrics[0, 0] == pytest.approx(0.2)


def test_a_sale_that_costs_more_than_cash_is_not_made():
    market = one_asset([100.0] * 8)
    got = hold([1.0, 0.999, 1.0, 0.999, 0.9, 0.0, NAN, NAN], market, cash=1000, costs=Costs(fee_min=5.0))
    assert (got.cash >= 0.0).all()
    first, *_ = reasons = got.orders["reason"].tolist()
    assert first == Reason.CUT
    assert reasons.count(Reason.TOO_DEAR) == 2
    refused = got.orders[got.orders["reason"] == Reason.TOO_DEAR]
    assert refused["side"].tolist() == ["sell", "sell"]
    np.testing.assert_allclose(refused["wanted"], 9.95 - 0.999 * 9.95, rtol=1e-6)
    assert got.positions["A"].iloc[-1] == 0.0


def test_closing_for_more_than_it_brings_takes_cash_but_none_that_is_not_there():
    """Two shares of a stock at 1 bring 2, the fee is 5: cash of 3 pays for it, cash of 0 does not."""
    fields = frames(open=[[500.0, 500.0, 1.0, 1.0]], close=[[500.0, 500.0, 1.0, 1.0]])
    market = Market.from_frames(**fields)
    costs = Costs(fee_min=5.0)
    rich = hold([0.99, 0.0, NAN, NAN], market, cash=1013.0, lot=1.0, costs=costs)
    assert rich.cash.tolist() == [1013.0, 8.0, 5.0, 5.0]
    poor = hold([1.0, 0.0, NAN, NAN], market, cash=1005.0, lot=1.0, costs=costs)
    assert poor.cash.tolist() == [1005.0, 0.0, 0.0, 0.0]
    assert poor.orders["reason"].tolist() == [Reason.FILLED, Reason.TOO_DEAR]
    borrowed = hold([1.0, 0.0, NAN, NAN], market, cash=1005.0, lot=1.0, costs=costs, max_leverage=9.0)
    assert borrowed.cash.tolist() == [1005.0, 0.0, -3.0, -3.0]


def test_weights_kept_by_no_opinion_count_toward_the_limit():
    market = Market.from_frames(**frames(open=[[10.0] * 6] * 5, close=[[10.0] * 6] * 5))
    weights = np.full(market.shape, NAN)
    weights[np.arange(5), np.arange(5)] = -1.0
    with pytest.raises(InputError, match=r"row 1 .*the sum is 2 \(NaN keeps") as error:
        every_bar(weights, market, cash=1000)
    assert str(error.value).count("\n") < 12
    decide = np.ones(market.n_bars, bool)
    assert "the sum is 2" in score([weights], decide, market, Settings()).errors[0]
    got = every_bar(weights, market, cash=1000, leverage_check="scale")
    gross = got.positions.abs().sum(axis=1) * 10.0 / got.equity
    assert gross.max() <= 1.0 + 1e-9
    decide[1:] = False  # rows that are not acted on state nothing
    assert len(simulate(weights, decide, market, Settings()).orders) == 1
    weights[1] = [0.0, -1.0, NAN, NAN, NAN]  # 0 gives the room back
    weights[2:] = NAN
    assert every_bar(weights, market, cash=1000).positions.iloc[-1].tolist() == [0.0, -100.0, 0.0, 0.0, 0.0]


def test_scaling_leaves_what_is_kept_and_shares_the_rest():
    market = Market.from_frames(**frames(open=[[10.0] * 3] * 3, close=[[10.0] * 3] * 3))
    weights = np.array([[0.6, NAN, NAN], [NAN, 0.6, -0.2], [NAN, NAN, NAN]])
    got = every_bar(weights, market, cash=1000, leverage_check="scale")
    np.testing.assert_allclose(got.positions.iloc[-1], [60.0, 30.0, -10.0], rtol=1e-12)
