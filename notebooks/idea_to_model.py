# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From an idea to a model to a backtest
#
# Do stocks that fell this week do better in the next one? Twenty large US stocks from `data-samples/`, chosen because
# they survived, so nothing here is a discovery. Run it from the project's folder.

# %%
import tempfile
from pathlib import Path

from sklearn.linear_model import Ridge

import knowable as kn

root = Path.cwd() if Path("data-samples").exists() else Path.cwd().parent
store = kn.Store(tempfile.mkdtemp())
store.create("stocks", kn.Schema.bars(calendar="XNYS", currency="USD"))
store.append("stocks", root / "data-samples/us-large-caps.csv.gz", known_lag="0s")
market = store.market("stocks", start="2008-01-01", end="2019-12-31")

# %% [markdown]
# ## The idea by itself
#
# Nothing is traded: does a higher value go with a higher return afterwards, for how long, and at what turnover?

# %%
week = market.close / market.close.lag(5) - 1
(-week.zscore()).analyse(horizons=(1, 5, 21), quantiles=4, cost_bps=5)

# %% [markdown]
# ## A model of several such ideas
#
# What it learns looks forward, and only inside `kn.label`. It is fitted every quarter on the three years before, on
# rows whose label was known by then. Its predictions are a feature like any other.


# %%
def prediction(m, alpha):
    returns = m.close / m.close.lag(1) - 1
    features = [returns.sum(n).zscore() for n in (5, 21, 126)] + [returns.std(21).zscore()]
    learnt = kn.label((m.close / m.close.lag(5) - 1).demean(), ahead=5)
    return kn.model(Ridge(alpha=alpha), features, learnt, train="3y", refit="3mo")


prediction(market, 10.0).analyse(horizons=(1, 5, 21), quantiles=4, cost_bps=5)


# %% [markdown]
# ## Traded, checked, with costs


# %%
class Predicted(kn.Strategy):
    """Equal parts of the five with the best predictions."""

    alpha = kn.Choice([1.0, 10.0, 100.0], default=10.0)
    rebalance = "week_end"

    def weights(self, m):
        return (prediction(m, self.alpha).rank(descending=True) <= 5) / 5


print(kn.check(Predicted(), market, cuts=2))
kn.backtest(Predicted(), market, fill="next_close", costs=kn.Costs(fee_bps=5))
