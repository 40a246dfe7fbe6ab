"""One backtest, a hundred thousand of them, and ten thousand wide ones: time and memory a trial.

One crossover of 5,000 bars as a user calls it, beside its peers and the ledger's pass alone; sweeps of 100 to 100,000
crossovers, each in a process of its own, whose time and memory a trial should not grow; and 10,000 parameter sets of a
monthly momentum strategy on 500 assets x 2,500 bars that share their cash, beside one pass of memory over the prices
for each set, which is the least that any engine must read.

Run: ``python -m benchmarks.scale``.
"""

from __future__ import annotations

import resource
import time
import warnings

import numpy as np
import pandas as pd

from benchmarks.crossover import prices
from benchmarks.rebalance import prices as wide_prices
from benchmarks.timing import alone, best, each_apart, main, measured, table_row

COUNTS = (100, 1_000, 10_000, 100_000)
WIDE_BARS, WIDE_ASSETS, WIDE_SETS = 2_500, 500, 10_000
ONE = ("knowable", "knowable, stats()", "knowable, the ledger alone", "vectorbt", "backtesting.py")


def crossover():
    """Our strategy and its market."""
    import knowable as kn

    class Crossover(kn.Strategy):
        """Long while the fast average is above the slow one."""

        fast = kn.Int(2, 500, default=10)
        slow = kn.Int(20, 1_000, default=100)

        def weights(self, m):
            return m.close.mean(self.fast) > m.close.mean(self.slow)

    table = prices()
    return kn, Crossover, kn.Market.from_frames(**{name: table[[name]].set_axis(["A"], axis=1) for name in table})


def one_call():
    kn, strategy, market = crossover()
    costs = kn.Costs(fee_bps=10)
    return lambda: kn.backtest(strategy(), market, size_at="fill", costs=costs)


def stats():
    result = one_call()()
    return result.stats


def ledger_alone():
    from knowable.backtest import Costs, Settings
    from knowable.backtest.record import run_ledger
    from knowable.backtest.tape import read_only, read_tape, rules_of

    _, strategy, market = crossover()
    weights = read_only(np.ascontiguousarray(strategy().weights(market).values()))
    account = Settings(size_at="fill", costs=Costs(fee_bps=10))
    tape, rules = read_tape(market, account), rules_of(account, on_change=True)
    decide = read_only(np.ones(market.n_bars, bool))
    return lambda: run_ledger(weights, decide, tape, rules, cash=1e6)


def vectorbt():
    warnings.simplefilter("ignore")
    import vectorbt as vbt

    close = prices()["close"]

    def once():
        fast, slow = vbt.MA.run(close, 10), vbt.MA.run(close, 100)
        portfolio = vbt.Portfolio.from_signals(
            close, fast.ma_crossed_above(slow), fast.ma_crossed_below(slow), fees=0.001, init_cash=1e6, freq="1D"
        )
        return portfolio.total_return()

    return once


def backtesting():
    warnings.simplefilter("ignore")
    import backtesting as other

    other.backtesting._tqdm = lambda rows, **_: rows  # noqa: SLF001 - no progress bars

    class Crossover(other.Strategy):
        def init(self):
            close = pd.Series(self.data.Close)
            self.a = self.I(lambda: close.rolling(10).mean().to_numpy())
            self.b = self.I(lambda: close.rolling(100).mean().to_numpy())

        def next(self):
            if self.a[-1] > self.b[-1]:
                if not self.position:
                    self.buy()
            elif self.position:
                self.position.close()

    test = other.Backtest(prices().rename(columns=str.title), Crossover, cash=1e6, commission=0.001)
    return test.run


RUNS = dict(zip(ONE, (one_call, stats, ledger_alone, vectorbt, backtesting), strict=True))


def sweep(count: int) -> float:
    """Seconds for so many crossovers, after one of a few to compile."""
    kn, strategy, market = crossover()
    every = [{"fast": fast, "slow": slow} for slow in range(20, 1_000) for fast in range(2, min(slow, 500))]
    trials = every[:: len(every) // count][:count]
    costs = kn.Costs(fee_bps=10)
    kn.sweep(strategy, market, trials=trials[:10], size_at="fill", costs=costs)
    began = time.perf_counter()
    table = kn.sweep(strategy, market, trials=trials, size_at="fill", costs=costs)
    seconds = time.perf_counter() - began
    if len(table) != count or table["error"].notna().any():
        raise RuntimeError("not every trial was scored")
    return seconds


def wide() -> dict[str, float]:
    """Seconds for ten thousand wide trials, and for as many passes over the prices."""
    import knowable as kn

    class Momentum(kn.Strategy):
        """Hold the strongest names in equal parts."""

        lookback = kn.Int(20, 252, default=126)
        top = kn.Int(10, 100, default=50)
        rebalance = "month_end"

        def weights(self, m):
            held = (m.close / m.close.lag(self.lookback) - 1).rank(descending=True) <= self.top
            return held / held.cross_sum()

    close = wide_prices(WIDE_BARS, WIDE_ASSETS)
    market = kn.Market.from_frames(close=close)
    trials = [{"lookback": lookback, "top": top} for lookback in range(20, 220) for top in range(10, 60)]
    account = {"fill": "next_close", "costs": kn.Costs(fee_bps=10)}
    kn.sweep(Momentum, market, trials=trials[:3], **account)
    began = time.perf_counter()
    table = kn.sweep(Momentum, market, trials=trials, **account)
    seconds = time.perf_counter() - began
    if len(table) != WIDE_SETS or table["error"].notna().any():
        raise RuntimeError("not every trial was scored")
    panel = close.to_numpy().copy()
    return {"seconds": seconds, "memory_pass": best(lambda: float(panel.sum()), 20) * WIDE_SETS}


def measure(what: str) -> dict[str, object]:
    """Time one thing in this process."""
    if what == "wide" or what.isdigit():
        row = {"engine": what, **(wide() if what == "wide" else {"seconds": sweep(int(what))})}
        return row | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    return measured(what, RUNS[what](), 3 if what == "backtesting.py" else 20)[0]


def run() -> list[dict[str, object]]:
    """Rows for the common table."""
    ours, *others = each_apart("scale", ONE, "seconds")
    case = "one crossover x 5,000 bars, whole call"
    table = [table_row(case, ours["seconds"] * 1e3, each["seconds"] * 1e3, each["engine"], "ms") for each in others]
    counts = {count: alone("scale", str(count)) for count in COUNTS}
    least = counts[COUNTS[1]]["seconds"] / COUNTS[1] * 1e6
    for count, each in counts.items():
        note, micros = f"peak {each['peak_mb']:.0f} MB", each["seconds"] / count * 1e6
        table.append(table_row(f"{count:,} crossovers: each", micros, least, "of 1,000", "us", note))
    each = alone("scale", "wide")
    case, note = f"{WIDE_SETS:,} sets x {WIDE_ASSETS} x {WIDE_BARS:,}, shared cash", f"peak {each['peak_mb']:.0f} MB"
    table.append(table_row(case, each["seconds"], each["memory_pass"], "a pass of memory for each", note=note))
    return table


if __name__ == "__main__":
    main(measure, lambda: print(*run(), sep="\n"))
