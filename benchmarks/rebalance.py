"""500 assets, 5,000 daily bars, rebalanced to equal weights each month, with fees: the whole result of one backtest.

Each engine runs in a process of its own, once to compile and warm up and then timed. All
fill at a close (ours at the next one), and give back the last equity. bt runs fewer assets and bars and is extrapolated
in proportion; the table says so.

Run: ``python -m benchmarks.rebalance``.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from benchmarks.timing import each_apart, main, measured, table_row

N_BARS, N_ASSETS = 5_000, 500
BT_BARS, BT_ASSETS = 1_250, 100
ENGINES = ("knowable", "knowable, figures only", "vectorbt", "bt")


def prices(n_bars: int = N_BARS, n_assets: int = N_ASSETS) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0002, 0.015, (n_bars, n_assets)), axis=0))
    index = pd.bdate_range("2004-01-01", periods=n_bars)
    return pd.DataFrame(close, index=index, columns=[f"S{k:03d}" for k in range(n_assets)])


def month_ends(index: pd.DatetimeIndex) -> np.ndarray:
    return np.append(index[1:].month != index[:-1].month, True)


def setup_knowable():
    import knowable.features  # noqa: F401 - a market's fields
    from knowable.backtest import Costs, Settings
    from knowable.data.market import Market

    close = prices()
    market = Market.from_frames(close=close)
    account = Settings(fill="next_close", costs=Costs(fee_bps=10))
    return market, np.full(close.shape, 1.0 / N_ASSETS), month_ends(close.index), account


def run_knowable():
    import knowable as kn

    class EqualWeights(kn.Strategy):
        """The same part of everything."""

        rebalance = "month_end"

        def weights(self, m):
            return np.full(m.shape, 1.0 / m.n_assets)

    market = kn.Market.from_frames(close=prices())
    costs = kn.Costs(fee_bps=10)
    return lambda: kn.backtest(EqualWeights(), market, fill="next_close", costs=costs).equity.iloc[-1]


def run_knowable_score():
    from knowable.backtest import score

    market, weights, rows, account = setup_knowable()
    weights.flags.writeable = False
    return lambda: 1e6 * (1.0 + score([weights], rows, market, account).metrics[0, 0])


def run_vectorbt():
    warnings.simplefilter("ignore")
    import vectorbt as vbt

    close = prices()
    size = pd.DataFrame(np.nan, index=close.index, columns=close.columns)
    size[month_ends(close.index)] = 1.0 / N_ASSETS

    def once():
        portfolio = vbt.Portfolio.from_orders(
            close, size, size_type="targetpercent", group_by=True, cash_sharing=True, call_seq="auto", fees=0.001,
            init_cash=1e6, freq="1D",
        )  # fmt: skip
        return portfolio.value().iloc[-1]

    return once


def run_bt():
    warnings.simplefilter("ignore")
    import bt

    close = prices(BT_BARS, BT_ASSETS)

    def once():
        algos = [bt.algos.RunMonthly(run_on_end_of_period=True), bt.algos.SelectAll(), bt.algos.WeighEqually()]
        strategy = bt.Strategy("equal", [*algos, bt.algos.Rebalance()])
        test = bt.Backtest(
            strategy, close, initial_capital=1e6, integer_positions=False, progress_bar=False,
            commissions=lambda quantity, price: abs(quantity) * price * 0.001,
        )  # fmt: skip
        return bt.run(test).prices.iloc[-1, 0] * 1e4

    return once


RUNS = {
    "knowable": run_knowable,
    "knowable, figures only": run_knowable_score,
    "vectorbt": run_vectorbt,
    "bt": run_bt,
}


def measure(engine: str) -> dict[str, object]:
    """Time one engine in this process."""
    row, value = measured(engine, RUNS[engine](), 1 if engine == "bt" else 5)
    scale = (N_BARS * N_ASSETS) / (BT_BARS * BT_ASSETS) if engine == "bt" else 1.0
    milliseconds = row.pop("seconds") * scale * 1e3
    return row | {"milliseconds": milliseconds, "extrapolated": scale != 1.0, "last_equity": float(value)}


def run() -> list[dict[str, object]]:
    """Rows for the common table: our milliseconds and memory beside each other's."""
    ours, *others = each_apart("rebalance", ENGINES, "milliseconds")
    case = f"{N_ASSETS} assets x {N_BARS:,} bars, monthly"
    table = []
    for each in others:
        note = f"extrapolated from {BT_ASSETS} x {BT_BARS:,}" if each["extrapolated"] else ""
        table.append(table_row(case, ours["milliseconds"], each["milliseconds"], each["engine"], "ms", note))
        if not each["extrapolated"]:
            table.append(table_row(f"{case}: peak memory", ours["peak_mb"], each["peak_mb"], each["engine"], "MB"))
    return table


def show(rows: list[dict[str, object]]) -> None:
    print(f"{N_ASSETS} assets x {N_BARS:,} bars, monthly to equal weights")
    print(f"{'engine':<24} {'ms':>10} {'x':>8} {'first call s':>13} {'peak MB':>8} {'last equity':>14}")
    for row in rows:
        note = f"  extrapolated from {BT_ASSETS} x {BT_BARS:,}" if row["extrapolated"] else ""
        print(
            f"{row['engine']:<24} {row['milliseconds']:>10.1f} {row['times_knowable']:>8.1f} "
            f"{row['first_call_seconds']:>13.2f} {row['peak_mb']:>8.0f} {row['last_equity']:>14,.0f}{note}"
        )


if __name__ == "__main__":
    main(measure, lambda: show(each_apart("rebalance", ENGINES, "milliseconds")))
