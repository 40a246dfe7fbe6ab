"""1,000,000 minute bars by a compiled `on_bar` with a bracket at each entry, and with one that is never reached.

Entries at random buy at the next open, with a stop at 1 % and a target at 2 %, orders that rest; fees of 1 bp. By hand
is the same rule in one loop of numba, without a book, costs apart or checks; the last equities are compared. No list of
orders is kept: it is what a trial of a search takes.

Run: ``python -m benchmarks.orders``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

import knowable as kn
from benchmarks.signals import FEE, N_BARS, STOP, TARGET, bars, entries
from benchmarks.timing import each_apart, main, measured, table_row
from knowable.backtest.events.run import EventRun
from knowable.backtest.settings import Settings
from knowable.backtest.tape import read_only

ENGINES = ("knowable", "knowable, never reached", "by hand")


class Bracket(kn.Strategy):
    """Enters at random, leaves at a level."""

    compiled = True
    far = 1.0

    def features(self, m):
        return {"enter": entries()[:, None].astype(float)}

    def on_bar(self, bar, account):
        if bar.enter[0] > 0.0 and account.positions[0] == 0.0 and account.n_open(0) == 0:
            price = bar.close[0]
            account.order(
                0, 0.9 * account.cash // price, stop_loss=price * (1.0 - STOP * self.far),
                take_profit=price * (1.0 + TARGET * self.far),
            )  # fmt: skip


class Far(Bracket):
    """Enters once, and rests for ever."""

    far = 60.0


def run_knowable(kind=Bracket):
    table = bars()
    market = kn.Market.from_frames(**{name: table[[name]].set_axis(["A"], axis=1) for name in table})
    strategy, settings = kind(), Settings(costs=kn.Costs(fee_bps=1))
    features = {"enter": read_only(strategy.features(market)["enter"])}
    decide = np.ones(N_BARS, np.bool_)

    def once():
        run = EventRun(market, settings, 0, N_BARS, records=False)
        run.trade(strategy, features, decide, 0, N_BARS)
        return run.equity[-1]

    return once


@njit(cache=True, nogil=True, error_model="numpy")
def by_hand(open_, high, low, close, enter, equity):
    cash, held, wanted, stop, target = 1e6, 0.0, 0.0, 0.0, 0.0
    for t in range(close.shape[0]):
        if wanted > 0.0:
            cash -= wanted * open_[t] * (1.0 + FEE)
            held, wanted = wanted, 0.0
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
                held = 0.0
        if enter[t] and held == 0.0:
            wanted = 0.9 * cash // close[t]
            stop, target = close[t] * (1.0 - STOP), close[t] * (1.0 + TARGET)
        equity[t] = cash + held * close[t]


def run_by_hand():
    table, enter, equity = bars(), entries(), np.empty(N_BARS)
    columns = [np.ascontiguousarray(table[name]) for name in ("open", "high", "low", "close")]

    def once():
        by_hand(*columns, enter, equity)
        return equity[-1]

    return once


RUNS = {"knowable": run_knowable, "knowable, never reached": lambda: run_knowable(Far), "by hand": run_by_hand}


def measure(engine: str) -> dict[str, object]:
    """Time one engine in this process."""
    row, value = measured(engine, RUNS[engine](), 7)
    return row | {"last_equity": float(value)}


def run() -> list[dict[str, object]]:
    """The rows of the table."""
    ours, *others = each_apart("orders", ENGINES, "seconds")
    return [
        table_row(
            "1,000,000 bars, on_bar with brackets",
            ours["seconds"],
            each["seconds"],
            each["engine"],
            note=f"first {each['first_call_seconds']:.1f} s, last equity {each['last_equity']:.6f}",
        )
        for each in others
    ]


if __name__ == "__main__":
    main(measure, lambda: print(*run(), sep="\n"))
