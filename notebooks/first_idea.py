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
# # From an idea to a result with its doubt
#
# Twenty large US stocks, adjusted closes from `data-samples/`. They were chosen because they survived, so nothing here
# is a discovery; it shows how the platform is used. Run it from the project's folder.

# %%
import tempfile
from pathlib import Path

import knowable as kn
from knowable.features import where

root = Path.cwd() if Path("data-samples").exists() else Path.cwd().parent
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Data, as it was known

# %%
store = kn.Store(work / "store")
store.create("stocks", kn.Schema.bars(calendar="XNYS", currency="USD"))
store.append("stocks", root / "data-samples/us-large-caps.csv.gz", known_lag="0s")

# %%
market = store.market("stocks", start="2005-01-01")
market

# %% [markdown]
# ## An idea
#
# A field of the market is a feature. Features combine with arithmetic and comparison, have methods such as `mean` and
# `rank`, and cannot look ahead: there is no negative lag.

# %%
trend = market.close / market.close.mean(200) - 1
trend.frame().tail(3).round(3)


# %% [markdown]
# ## A strategy
#
# Parameters are declared with their ranges; `weights` returns fractions of equity.


# %%
class Trend(kn.Strategy):
    """Equal parts of what stands above its own average."""

    window = kn.Int(20, 250, default=200)
    margin = kn.Float(0.0, 0.1, default=0.0)
    rebalance = "week_end"

    def weights(self, m):
        above = m.close > m.close.mean(self.window) * (1 + self.margin)
        return where(above, 1.0, 0.0) / m.n_assets


account = {"fill": "next_close", "costs": kn.Costs(fee_bps=5, slippage_bps=5)}
kn.backtest(Trend(), market, **account)

# %% [markdown]
# ## Does it look ahead?

# %%
kn.check(Trend(), market)

# %% [markdown]
# ## How much hangs on the parameters?

# %%
table = kn.sweep(Trend, market, grid={"window": range(20, 251, 10), "margin": [0.0, 0.02, 0.05]}, **account)
table.pivot(index="window", columns="margin", values="sharpe").round(2).iloc[::4]

# %% [markdown]
# ## Choose on the past, trade what follows
#
# On two worker processes; a class defined in a notebook runs there as it is.

# %%
run = kn.walk_forward(
    Trend, market, train="5y", test="2y", trials=20, workers=2, seed=7, runs_dir=work / "runs", **account
)
print(run.summary())

# %%
run.report(work / "report.html")
