"""1,000,000 minute bars, entries at random, a stop of 1 % and a target of 2 %: the whole call, and the pass alone.

All enter and leave one asset with all cash and a fee of 1 bp; ours and vectorbt fill entries at the signal's close, so
that both trade alike, and their last equities are compared; backtesting.py fills at the next open, runs fewer bars and
is extrapolated in proportion. By hand is the same rule in one loop of numba, without orders, costs apart or checks.
Also what `stats()` of one run takes, and many parameter sets (`signal_sets`). Each engine runs in a process of its own,
once to compile and then timed.

Run: ``python -m benchmarks.signals``.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from numba import njit

from benchmarks import signal_sets
from benchmarks.timing import best, each_apart, main, measured, table_row

N_BARS, FEW = 1_000_000, 20_000
STOP, TARGET, FEE = 0.01, 0.02, 1e-4
ENGINES = ("knowable", "knowable, pass alone", "vectorbt", "backtesting.py", "by hand")


def bars(n_bars: int = N_BARS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(rng.normal(0.0, 0.0005, n_bars).cumsum())
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close) * 1.0002, np.minimum(open_, close) * 0.9998
    index = pd.date_range("2020-01-01", periods=n_bars, freq="min")
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close}, index=index)


def entries(n_bars: int = N_BARS) -> np.ndarray:
    return np.random.default_rng(1).random(n_bars) < 0.01


def ours():
    import knowable as kn

    table = bars()
    market = kn.Market.from_frames(**{name: table[[name]].set_axis(["A"], axis=1) for name in table})
    enter = entries()[:, None]

    class Random(kn.Strategy):
        """Enters at random, leaves at a level."""

        def signals(self, m):
            return kn.Signals(entry=enter, stop=STOP, target=TARGET, size=1.0)

    return kn, market, Random()


def run_knowable():
    kn, market, strategy = ours()
    return lambda: kn.backtest(strategy, market, preset="vectorbt", costs=kn.Costs(fee_bps=1)).equity.iloc[-1]


def run_pass():
    from knowable.backtest.by_signals import score_signals
    from knowable.backtest.costs import Costs
    from knowable.backtest.settings import Settings
    from knowable.backtest.signals import call_signals, signal_panels

    _, market, strategy = ours()
    panels = signal_panels(call_signals(strategy, market).given(), strategy, market)
    account = Settings(preset="vectorbt", costs=Costs(fee_bps=1))
    return lambda: 1e6 * (1.0 + score_signals(panels, market, account, start=0, stop=N_BARS)[0][0])


def run_vectorbt():
    warnings.simplefilter("ignore")
    import vectorbt as vbt

    table, enter = bars(), entries()
    enter = pd.Series(enter, index=table.index)

    def once():
        portfolio = vbt.Portfolio.from_signals(
            table["close"], enter, False, open=table["open"], high=table["high"], low=table["low"], sl_stop=STOP,
            tp_stop=TARGET, fees=FEE, init_cash=1e6, freq="1min",
        )  # fmt: skip
        return portfolio.final_value()

    return once


def run_backtesting():
    warnings.simplefilter("ignore")
    import backtesting

    backtesting.backtesting._tqdm = lambda rows, **_: rows  # noqa: SLF001 - no progress bars
    table, enter = bars(FEW).rename(columns=str.title), entries(FEW)

    class Random(backtesting.Strategy):
        def init(self):
            pass

        def next(self):
            if enter[len(self.data) - 1] and not self.position:
                price = self.data.Close[-1]
                self.buy(sl=price * (1 - STOP), tp=price * (1 + TARGET))

    test = backtesting.Backtest(table, Random, cash=1e6, commission=FEE)
    return lambda: test.run()["Equity Final [$]"]


@njit(cache=True, nogil=True, error_model="numpy")
def by_hand(open_, high, low, close, enter, equity):
    cash, held, stop, target = 1e6, 0.0, 0.0, 0.0
    for t in range(close.shape[0]):
        left = False
        if held > 0.0:
            price = 0.0
            if open_[t] <= stop or open_[t] >= target:
                price = open_[t]
            elif low[t] <= stop:
                price = stop
            elif high[t] >= target:
                price = target
            if price > 0.0:
                cash += held * price * (1.0 - FEE)
                held, left = 0.0, True
        if held == 0.0 and enter[t] and not left:
            held = cash / (1.0 + FEE) / close[t]
            cash, stop, target = 0.0, close[t] * (1.0 - STOP), close[t] * (1.0 + TARGET)
        equity[t] = cash + held * close[t]


def run_by_hand():
    table, enter, equity = bars(), entries(), np.empty(N_BARS)
    columns = [np.ascontiguousarray(table[name]) for name in ("open", "high", "low", "close")]

    def once():
        by_hand(*columns, enter, equity)
        return equity[-1]

    return once


RUNS = {
    "knowable": run_knowable,
    "knowable, pass alone": run_pass,
    "vectorbt": run_vectorbt,
    "backtesting.py": run_backtesting,
    "by hand": run_by_hand,
}


def measure(engine: str) -> dict[str, object]:
    """Time one engine in this process."""
    few = engine == "backtesting.py"
    row, value = measured(engine, RUNS[engine](), 2 if few else 9)
    seconds = row["seconds"] * (N_BARS / FEW if few else 1)
    return row | {"seconds": seconds, "extrapolated": few, "last_equity": float(value)}


def figures() -> float:
    """Seconds that `stats()` takes for a run of 5,000 daily bars."""
    import knowable as kn

    close = bars(5_000)[["close"]].set_axis(["A"], axis=1)
    close.index = pd.bdate_range("2000-01-03", periods=5_000)

    class Above(kn.Strategy):
        """In above the mean."""

        def weights(self, m):
            return m.close > m.close.mean(50)

    result = kn.backtest(Above(), kn.Market.from_frames(close=close), fill="next_close")
    result.stats()
    return best(result.stats, 20)


def run() -> list[dict[str, object]]:
    """The rows of the table."""
    ours, *others = each_apart("signals", ENGINES, "seconds")
    made = [
        table_row(
            "1,000,000 bars, stop and target",
            ours["seconds"],
            each["seconds"],
            each["engine"],
            note=f"{each['peak_mb']:,.0f} MB, first {each['first_call_seconds']:.1f} s, "
            f"last equity {each['last_equity']:.6f}" + (f", from {FEW:,} bars" if each["extrapolated"] else ""),
        )
        for each in others
    ]
    return [*made, table_row("stats() of 5,000 bars", figures(), None, "-"), *signal_sets.run()]


if __name__ == "__main__":
    main(measure, lambda: print(*run(), sep="\n"))
