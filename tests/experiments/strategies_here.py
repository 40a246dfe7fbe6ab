"""Strategies the experiment tests run; a file of its own, as a user's would be."""

import os
import time

import knowable as kn
from knowable.features import where


class Crossover(kn.Strategy):
    """Hold what is above its slow mean."""

    fast = kn.Int(2, 40, default=5)
    slow = kn.Int(10, 120, default=30)

    def weights(self, m):
        above = m.close.mean(self.fast) > m.close.mean(self.slow)
        return where(above, 1.0, 0.0) / m.n_assets


class SlowCrossover(Crossover):
    """The same, taking its time, so that a test can interrupt it; the time is set from outside."""

    def weights(self, m):
        time.sleep(float(os.environ.get("KNOWABLE_TEST_NAP", "0")))
        return super().weights(m).frame()


class Branches(kn.Strategy):
    """Looks at the values of its parameters in Python."""

    fast = kn.Int(2, 40, default=5)
    kind = kn.Choice(["mean", "min"])

    def weights(self, m):
        level = m.close.mean(self.fast) if self.kind == "mean" else m.close.min(self.fast)
        if self.fast > 20:
            level = level * 0.99
        return where(m.close > level, 1.0, 0.0) / m.n_assets


class SneakyBranch(kn.Strategy):
    """Branches on the type of its parameter, which no symbol can notice."""

    fast = kn.Int(2, 40, default=5)

    def weights(self, m):
        level = m.close.mean(self.fast)
        if type(self.fast) is int:
            level = level * 0.99
        return where(m.close > level, 1.0, 0.0) / m.n_assets


class WithPandas(kn.Strategy):
    """The crossover in pandas."""

    fast = kn.Int(2, 40, default=5)
    slow = kn.Int(10, 120, default=30)

    def weights(self, m):
        close = m.close.frame()
        above = close.rolling(self.fast).mean() > close.rolling(self.slow).mean()
        return above.astype(float) / m.n_assets


class Fails(kn.Strategy):
    """Raises for some values."""

    fast = kn.Int(2, 40, default=5)

    def weights(self, m):
        if self.fast % 2:
            raise ZeroDivisionError("an odd window")
        return where(m.close > m.close.mean(self.fast), 1.0, 0.0) / m.n_assets


class Peeks(kn.Strategy):
    """Reads the next bar."""

    scale = kn.Float(0.1, 1.0, default=1.0)

    def weights(self, m):
        close = m.close.frame()
        return self.scale * (close.shift(-1) > close).astype(float) / m.n_assets


class CrossoverByBar(kn.Strategy):
    """The crossover, decided bar by bar."""

    fast = kn.Int(2, 40, default=5)
    slow = kn.Int(10, 120, default=30)

    def features(self, m):
        return {"quick": m.close.mean(self.fast), "calm": m.close.mean(self.slow)}

    def on_bar(self, bar, account):
        above = bar.quick > bar.calm
        account.target(above / bar.n_assets)


class PandasByBar(CrossoverByBar):
    """The same with averages from pandas, which know how long the market is."""

    def features(self, m):
        close = m.close.frame()
        return {"quick": close.rolling(self.fast).mean(), "calm": m.close.mean(self.slow)}


class Trailing(kn.Strategy):
    """Buys what is above its mean, sells what falls by a tenth from its peak; keeps the peaks on itself."""

    window = kn.Int(2, 60, default=20)
    fall = kn.Float(0.02, 0.3, default=0.1)
    peaks = {}  # noqa: RUF012 - each run has its own

    def on_bar(self, bar, account):
        held = account.positions
        for column, name in enumerate(bar.assets):
            price = bar.close[column]
            if held[column] == 0.0:
                if price > bar.past("close", self.window)[:, column].mean():
                    account.order(name, int(0.2 * account.equity / price))
                    self.peaks[name] = price
            else:
                self.peaks[name] = max(self.peaks[name], price)
                if price < (1.0 - self.fall) * self.peaks[name]:
                    account.target_shares(name, 0)
