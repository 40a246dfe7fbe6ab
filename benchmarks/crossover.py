"""1,000 moving-average crossovers on 5,000 daily bars: total return, Sharpe and drawdown of each.

Every engine runs in a process of its own, so that peak memory is its own; each first runs on two pairs, so that
compiling is not timed (the seconds of that first call are shown apart). Same data, same pairs, all cash in or out, a
fee of 10 bps. vectorbt fills at the signal's close, the others at the next open. What decides bar by bar in Python,
backtesting.py and our plain `on_bar`, runs a few pairs and is extrapolated; the table says so. The hand-written loop is
the limit: one account's arithmetic and nothing else.

Run: ``python -m benchmarks.crossover``.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pandas as pd

from benchmarks.timing import each_apart, main, measured, table_row

N_BARS, N_PAIRS = 5_000, 1_000
ENGINES = (
    "knowable",
    "knowable, 1 thread",
    "knowable, on_bar compiled",
    "knowable, on_bar",
    "vectorbt",
    "backtesting.py",
    "hand-written numba",
)
FEW = {"knowable, on_bar": 50, "backtesting.py": 5}


def prices() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.012, N_BARS)))
    opens = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0.0, 0.003, N_BARS))
    high, low = np.maximum(opens, close) * 1.002, np.minimum(opens, close) * 0.998
    index = pd.bdate_range("2004-01-01", periods=N_BARS)
    return pd.DataFrame({"open": opens, "high": high, "low": low, "close": close}, index=index)


def pairs(count: int = N_PAIRS) -> list[tuple[int, int]]:
    every = [(fast, slow) for fast in range(5, 45) for slow in range(50, 250, 8)]
    return every[:count]


def run_knowable(chosen, threads=None):
    import knowable as kn

    class Crossover(kn.Strategy):
        """Long while the fast average is above the slow one."""

        fast = kn.Int(2, 100, default=10)
        slow = kn.Int(20, 400, default=100)

        def weights(self, m):
            return m.close.mean(self.fast) > m.close.mean(self.slow)

    return sweep(kn, Crossover, chosen, threads)


@functools.cache
def on_bar_crossover(*, compiled):
    """Made once: a class that is defined again is compiled again."""
    import knowable as kn

    class Crossover(kn.Strategy):
        """The same, decided bar by bar."""

        fast = kn.Int(2, 100, default=10)
        slow = kn.Int(20, 400, default=100)

        def features(self, m):
            return {"quick": m.close.mean(self.fast), "calm": m.close.mean(self.slow)}

        def on_bar(self, bar, account):
            account.target(0, 1.0 if bar.quick[0] > bar.calm[0] else 0.0)

    Crossover.compiled = compiled
    return Crossover


def run_on_bar(chosen, *, compiled):
    import knowable as kn

    return sweep(kn, on_bar_crossover(compiled=compiled), chosen, None)


def sweep(kn, strategy, chosen, threads):
    table = prices()
    market = kn.Market.from_frames(**{name: table[[name]].set_axis(["A"], axis=1) for name in table})
    trials = [{"fast": fast, "slow": slow} for fast, slow in chosen]
    rows = kn.sweep(strategy, market, trials=trials, size_at="fill", costs=kn.Costs(fee_bps=10), threads=threads)
    return rows[["total_return", "sharpe", "max_drawdown"]].to_numpy()


def run_vectorbt(chosen):
    warnings.simplefilter("ignore")
    import vectorbt as vbt

    close = prices()["close"]
    fast = vbt.MA.run(close, [a for a, _ in chosen], short_name="fast")
    slow = vbt.MA.run(close, [b for _, b in chosen], short_name="slow")
    portfolio = vbt.Portfolio.from_signals(
        close, fast.ma_crossed_above(slow), fast.ma_crossed_below(slow), fees=0.001, init_cash=1e6, freq="1D"
    )
    return np.column_stack([portfolio.total_return(), portfolio.sharpe_ratio(), portfolio.max_drawdown()])


def run_backtesting(chosen):
    warnings.simplefilter("ignore")
    import backtesting

    backtesting.backtesting._tqdm = lambda rows, **_: rows  # noqa: SLF001 - no progress bars

    class Crossover(backtesting.Strategy):
        fast, slow = 10, 100

        def init(self):
            close = pd.Series(self.data.Close)
            self.a = self.I(lambda: close.rolling(self.fast).mean().to_numpy())
            self.b = self.I(lambda: close.rolling(self.slow).mean().to_numpy())

        def next(self):
            if self.a[-1] > self.b[-1]:
                if not self.position:
                    self.buy()
            elif self.position:
                self.position.close()

    test = backtesting.Backtest(prices().rename(columns=str.title), Crossover, cash=1e6, commission=0.001)
    rows = [test.run(fast=fast, slow=slow) for fast, slow in chosen]
    return np.array([[s["Return [%]"] / 100, s["Sharpe Ratio"], s["Max. Drawdown [%]"] / 100] for s in rows])


def run_limit(chosen):
    from numba import njit

    @njit(cache=True)
    def crossover(close, opens, fast, slow, fee, out):
        n = close.shape[0]
        total = np.zeros(n + 1)
        for t in range(n):
            total[t + 1] = total[t] + close[t]
        for k in range(fast.shape[0]):
            a, b = fast[k], slow[k]
            cash, held, want = 1e6, 0.0, False
            peak, worst, before, mean, square = 1e6, 0.0, 1e6, 0.0, 0.0
            for t in range(n):
                if want and held == 0.0:
                    held = cash / opens[t] / (1.0 + fee)
                    cash = 0.0
                elif not want and held > 0.0:
                    cash = held * opens[t] * (1.0 - fee)
                    held = 0.0
                value = cash + held * close[t]
                gain = value / before - 1.0
                mean += gain
                square += gain * gain
                before = value
                peak = max(peak, value)
                worst = min(worst, value / peak - 1.0)
                if t + 1 >= b:
                    want = (total[t + 1] - total[t + 1 - a]) / a > (total[t + 1] - total[t + 1 - b]) / b
            mean /= n
            out[k, 0] = before / 1e6 - 1.0
            out[k, 1] = mean / np.sqrt((square - n * mean * mean) / (n - 1)) * np.sqrt(252.0)
            out[k, 2] = worst

    table = prices()
    out = np.empty((len(chosen), 3))
    fast, slow = (np.array(side) for side in zip(*chosen, strict=True))
    crossover(table["close"].to_numpy().copy(), table["open"].to_numpy().copy(), fast, slow, 0.001, out)
    return out


RUNS = {
    "knowable": run_knowable,
    "knowable, 1 thread": lambda chosen: run_knowable(chosen, threads=1),
    "knowable, on_bar compiled": lambda chosen: run_on_bar(chosen, compiled=True),
    "knowable, on_bar": lambda chosen: run_on_bar(chosen, compiled=False),
    "vectorbt": run_vectorbt,
    "backtesting.py": run_backtesting,
    "hand-written numba": run_limit,
}


def measure(engine: str) -> dict[str, object]:
    """Time one engine in this process."""
    chosen, run_it = pairs(FEW.get(engine, N_PAIRS)), RUNS[engine]
    row, figures = measured(engine, lambda: run_it(chosen), 1 if engine in FEW else 7, first=lambda: run_it(pairs(2)))
    each = row["seconds"] / len(chosen)
    return row | {
        "seconds": each * N_PAIRS,
        "microseconds_a_trial": each * 1e6,
        "trials_run": len(chosen),
        "extrapolated": len(chosen) < N_PAIRS,
        "mean_total_return": float(np.mean(figures[:, 0])),
    }


def run() -> list[dict[str, object]]:
    """Rows for the common table: our seconds and memory beside each other's."""
    ours, *others = each_apart("crossover", ENGINES, "seconds")
    case = f"{N_PAIRS:,} crossovers x {N_BARS:,} bars"
    table = []
    for each in others:
        note = f"extrapolated from {each['trials_run']}" if each["extrapolated"] else ""
        table.append(table_row(case, ours["seconds"], each["seconds"], each["engine"], note=note))
    return table + [
        table_row(f"{case}: peak memory", ours["peak_mb"], each["peak_mb"], each["engine"], "MB")
        for each in others
        if not each["extrapolated"]
    ]


def show(rows: list[dict[str, object]]) -> None:
    print(f"{N_PAIRS:,} crossovers on {N_BARS:,} bars")
    print(f"{'engine':<26} {'seconds':>9} {'us/trial':>10} {'x':>8} {'first s':>8} {'peak MB':>8} {'mean return':>12}")
    for row in rows:
        note = f"  extrapolated from {row['trials_run']}" if row["extrapolated"] else ""
        print(
            f"{row['engine']:<26} {row['seconds']:>9.3f} {row['microseconds_a_trial']:>10.1f} "
            f"{row['times_knowable']:>8.1f} {row['first_call_seconds']:>8.2f} {row['peak_mb']:>8.0f} "
            f"{row['mean_total_return']:>12.6f}{note}"
        )


if __name__ == "__main__":
    main(measure, lambda: show(each_apart("crossover", ENGINES, "seconds")))
