"""Decide bar by bar: buy on a break-out, sell on a fall from the peak. Copy this file and change it."""

import numpy as np

import knowable as kn


class TrailingStop(kn.Strategy):
    """Buy what closes above its highest close of the last bars; sell what falls from its peak since by some volatility.

    Source: the channel rule of Donchian, with the exit of LeBeau and Lucas, Computer Analysis of the Futures Market
    (1992).
    """

    channel = kn.Int(10, 120, default=55)  # bars of the break-out
    width = kn.Float(1.0, 8.0, default=4.0)  # fall from the peak that ends a position, in daily deviations
    risk_window = kn.Int(10, 60, default=20)  # bars over which the deviation is measured
    slots = kn.Int(1, 20, default=5)  # names held at most, an equal part of equity each

    compiled = True  # leave it out to use names, times, dictionaries and other libraries in on_bar

    def features(self, m):
        """Over all bars beforehand: row t knows rows up to t."""
        change = m.close / m.close.lag(1) - 1
        return {"ceiling": m.close.lag(1).max(self.channel), "risk": change.std(self.risk_window)}

    def memory(self, m):
        """Arrays that on_bar changes from bar to bar; every run has its own."""
        return {"peak": np.zeros(m.n_assets)}

    def on_bar(self, bar, account):
        """One bar: what is known now, and the account as it stands."""
        held = account.positions
        free = self.slots
        for j in range(bar.n_assets):
            if held[j] > 0.0:
                self.peak[j] = max(self.peak[j], bar.close[j])
                if bar.close[j] < self.peak[j] * (1.0 - self.width * bar.risk[j]):
                    account.target_shares(j, 0)
                else:
                    free -= 1
        for j in range(bar.n_assets):
            if free > 0 and held[j] == 0.0 and bar.close[j] > bar.ceiling[j]:
                account.order(j, 0.95 * account.equity / self.slots / bar.close[j])
                self.peak[j] = bar.close[j]
                free -= 1
