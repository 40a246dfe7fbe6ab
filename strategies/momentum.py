"""Cross-sectional momentum with risk scaling: copy this file and change it."""

import knowable as kn
from knowable.features import minimum, where


class Momentum(kn.Strategy):
    """Hold the strongest names, each in inverse proportion to its risk, and hold less when the whole gets riskier.

    Source: Jegadeesh and Titman, Returns to Buying Winners and Selling Losers, Journal of Finance 48 (1993); risk
    scaling after Barroso and Santa-Clara, Momentum Has Its Moments, Journal of Financial Economics 116 (2015).
    """

    lookback = kn.Int(40, 300, default=252)  # bars over which strength is measured
    skip = kn.Int(0, 40, default=21)  # latest bars left out: short-term reversal
    top = kn.Int(3, 10, default=5)  # names held
    risk_window = kn.Int(20, 120, default=60)  # bars over which risk is measured
    target_volatility = kn.Float(0.08, 0.30, default=0.15)  # a year

    rebalance = "month_end"

    def weights(self, m):
        """Fractions of equity, each month end."""
        returns = m.close / m.close.lag(1) - 1
        strength = m.close.lag(self.skip) / m.close.lag(self.lookback + self.skip) - 1
        held = strength.rank(descending=True) <= self.top

        inverse_risk = where(held, 1 / returns.std(self.risk_window), 0.0)
        shares = inverse_risk / inverse_risk.cross_sum()

        daily_risk = (shares.lag(1) * returns).cross_sum().std(self.risk_window)
        return shares * minimum(1.0, self.target_volatility / (daily_risk * 252**0.5))
