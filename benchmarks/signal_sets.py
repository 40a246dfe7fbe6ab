"""1,000 parameter sets of a crossover with stop and target on 5,000 daily bars: return, Sharpe and drawdown of each.

All enter with all cash on the bar the fast mean comes above the slow one and leave below it, at a stop or at a target,
with a fee of 10 bps and fills at the signal's close, so that mean total returns can be compared. 10 fast means, 10 slow
ones and 10 pairs of levels. Each engine runs in a process of its own and first on two sets, so that compiling is not
timed. The hand-written loop is the limit: one account's arithmetic and nothing else.

Run: ``python -m benchmarks.signal_sets``; its rows are part of ``python -m benchmarks.signals``.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
from numba import njit

from benchmarks.timing import each_apart, main, measured, table_row

N_BARS, FEE = 5_000, 1e-3
ENGINES = ("knowable", "knowable, 1 thread", "vectorbt", "hand-written numba")
LEVELS = [(0.02, 0.03), (0.02, 0.1), (0.03, 0.05), (0.03, 0.3), (0.04, 0.08)]
LEVELS += [(0.05, 0.05), (0.05, 0.1), (0.06, 0.06), (0.1, 0.1), (0.1, 0.2)]


def prices() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.012, N_BARS)))
    opens = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0.0, 0.003, N_BARS))
    high, low = np.maximum(opens, close) * 1.002, np.minimum(opens, close) * 0.998
    index = pd.bdate_range("2004-01-01", periods=N_BARS)
    return pd.DataFrame({"open": opens, "high": high, "low": low, "close": close}, index=index)


def sets() -> list[tuple[int, int, float, float]]:
    return [
        (fast, slow, stop, target)
        for fast, slow, (stop, target) in itertools.product(range(5, 45, 4), range(50, 250, 20), LEVELS)
    ]


def run_knowable(chosen, threads=None):
    import knowable as kn

    class Crossing(kn.Strategy):
        """Enters where the fast mean crosses the slow one."""

        fast = kn.Int(2, 100)
        slow = kn.Int(10, 300)
        stop = kn.Float(0.005, 0.5)
        target = kn.Float(0.005, 0.5)

        def signals(self, m):
            above = m.close.mean(self.fast) > m.close.mean(self.slow)
            return kn.Signals(entry=above & ~above.lag(1), exit=~above, size=1.0, stop=self.stop, target=self.target)

    table = prices()
    market = kn.Market.from_frames(**{name: table[[name]].set_axis(["A"], axis=1) for name in table})
    trials = [dict(zip(("fast", "slow", "stop", "target"), each, strict=True)) for each in chosen]
    rows = kn.sweep(
        Crossing, market, trials=trials, preset="vectorbt", costs=kn.Costs(fee_bps=1e4 * FEE), threads=threads
    )
    return rows[["total_return", "sharpe", "max_drawdown"]].to_numpy()


def run_vectorbt(chosen):
    warnings.simplefilter("ignore")
    import vectorbt as vbt

    table = prices()
    fast, slow, stop, target = (np.array(side) for side in zip(*chosen, strict=True))
    above = vbt.MA.run(table["close"], fast).ma.to_numpy() > vbt.MA.run(table["close"], slow).ma.to_numpy()
    entries = above & ~np.vstack([above[:1], above[:-1]])
    portfolio = vbt.Portfolio.from_signals(
        table["close"], entries, ~above, open=table["open"], high=table["high"], low=table["low"],
        sl_stop=stop, tp_stop=target, fees=FEE, init_cash=1e6, freq="1D",
    )  # fmt: skip
    return np.column_stack([portfolio.total_return(), portfolio.sharpe_ratio(), portfolio.max_drawdown()])


@njit(cache=True, nogil=True, error_model="numpy")
def by_hand(open_, high, low, close, fast, slow, stops, targets, out):
    n = close.shape[0]
    total = np.zeros(n + 1)
    for t in range(n):
        total[t + 1] = total[t] + close[t]
    for k in range(fast.shape[0]):
        a, b = fast[k], slow[k]
        cash, held, stop, goal, before = 1e6, 0.0, 0.0, 0.0, False
        peak, worst, last, mean, square = 1e6, 0.0, 1e6, 0.0, 0.0
        for t in range(n):
            above = t + 1 >= b and (total[t + 1] - total[t + 1 - a]) / a > (total[t + 1] - total[t + 1 - b]) / b
            price, left = 0.0, False
            if held > 0.0:
                if open_[t] <= stop or open_[t] >= goal:
                    price = open_[t]
                elif low[t] <= stop:
                    price = stop
                elif high[t] >= goal:
                    price = goal
                elif not above:
                    price = close[t]
                if price > 0.0:
                    cash, held, left = cash + held * price * (1.0 - FEE), 0.0, True
            if above and not before and held == 0.0 and not left:
                held, cash = cash / (1.0 + FEE) / close[t], 0.0
                stop, goal = close[t] * (1.0 - stops[k]), close[t] * (1.0 + targets[k])
            before = above
            value = cash + held * close[t]
            gain = value / last - 1.0
            mean += gain
            square += gain * gain
            last, peak = value, max(peak, value)
            worst = min(worst, value / peak - 1.0)
        mean /= n
        out[k, 0] = last / 1e6 - 1.0
        out[k, 1] = mean / np.sqrt((square - n * mean * mean) / (n - 1)) * np.sqrt(252.0)
        out[k, 2] = worst


def run_by_hand(chosen):
    table, out = prices(), np.empty((len(chosen), 3))
    sides = [np.array(side) for side in zip(*chosen, strict=True)]
    by_hand(*[np.ascontiguousarray(table[name]) for name in ("open", "high", "low", "close")], *sides, out)
    return out


RUNS = {
    "knowable": run_knowable,
    "knowable, 1 thread": lambda chosen: run_knowable(chosen, threads=1),
    "vectorbt": run_vectorbt,
    "hand-written numba": run_by_hand,
}


def measure(engine: str) -> dict[str, object]:
    """Time one engine in this process."""
    chosen, run_it = sets(), RUNS[engine]
    row, figures = measured(engine, lambda: run_it(chosen), 5, first=lambda: run_it(chosen[:2]))
    return row | {"mean_total_return": float(np.mean(figures[:, 0]))}


def run() -> list[dict[str, object]]:
    """Rows for the common table."""
    ours, *others = each_apart("signal_sets", ENGINES, "seconds")
    return [
        table_row(
            f"{len(sets()):,} sets of signals with levels x {N_BARS:,} bars",
            ours["seconds"],
            each["seconds"],
            each["engine"],
            note=f"{each['peak_mb']:,.0f} MB (ours {ours['peak_mb']:,.0f}), mean return "
            f"{each['mean_total_return']:.6f} (ours {ours['mean_total_return']:.6f})",
        )
        for each in others
    ]


if __name__ == "__main__":
    main(measure, lambda: print(*run(), sep="\n"))
