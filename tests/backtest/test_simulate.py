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
    assert list(got.trades.columns) == ["asset", "entry_time", "exit_time", "size", "entry_price", "exit_price", "pnl"]
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
    with pytest.raises(ShapeError, match=r"reindex\(result.index\)"):
        got.compare(index.iloc[1:])
    with pytest.raises(InputError, match="Series"):
        got.compare([1.0])


def test_report_is_one_file(market, tmp_path):
    got = hold(np.full(market.shape, 0.2), market)
    path = got.report(tmp_path / "r.html", benchmark=pd.Series(market.final["close"][:, 0], index=market.index))
    assert "<html" in path.read_text(encoding="utf-8")[:2000].lower()
