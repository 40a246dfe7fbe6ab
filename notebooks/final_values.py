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
# # How wrong is a backtest that uses final values?
#
# Statistics offices publish a quarter two months after it ended and go on revising it for years. A file downloaded
# today holds the last revision, under the date of the quarter. A backtest on that file errs twice: it knows the
# quarter when it ended, and it knows what the quarter became.
#
# `data-samples/` has ten volume indices of Brazil's national accounts with the day on which every single value was
# published: 66 releases from 2010 to 2026. So both errors can be measured. Run this from the project's folder.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import knowable as kn

root = Path.cwd() if Path("data-samples").exists() else Path.cwd().parent
store = kn.Store(Path(tempfile.mkdtemp()) / "store")
store.create("accounts", kn.Schema.facts(fields={"value": "index, 1995 = 100"}, known_basis="vendor"))
store.append("accounts", root / "data-samples/brazil-gdp-vintages.csv.gz", tz="America/Sao_Paulo")

# %% [markdown]
# ## One quarter, told many times
#
# The second quarter of 2020 was first published at 150.3. It is 153.2 today.

# %%
store.history("accounts", "pib", "2020-06-30T00:00-03:00").to_pandas()[["known_time", "value"]].head(6)

# %% [markdown]
# ## Three ways to see the same growth
#
# `store.window` gives the last two quarters as known on each day; their ratio is the newest growth a reader of that day
# could compute. The other two panels are what the downloaded file shows: final growth, from its first publication on,
# and final growth from the end of the quarter on.

# %%
names = sorted(set(store.read("accounts")["entity"].to_pylist()))
days = pd.date_range("2010-07-01", "2026-09-10", freq="B", tz="UTC") + pd.Timedelta("12h")

last_two = store.window("accounts", "value", 2, clock=days, entities=names)
known = pd.DataFrame(last_two[:, :, 1] / last_two[:, :, 0] - 1, index=days, columns=names)

table = store.read("accounts").to_pandas()
level = table.pivot(index="event_time", columns="entity", values="value")[names]
final = level / level.shift(1) - 1
told = {quarter: store.history("accounts", "pib", quarter)["known_time"][0].as_py() for quarter in final["2010":].index}
first_known = pd.Series(told)
first_known = first_known[~first_known.duplicated(keep="last")]  # the first file holds many quarters, one release two
lagged = final.reindex(first_known.index).set_axis(pd.DatetimeIndex(first_known)).reindex(days, method="ffill")
unlagged = final.reindex(days, method="ffill")

# %% [markdown]
# ## How far apart are they?
#
# On the day a quarter's growth was first published, against what it is now.

# %%
released = [days[days >= moment][0] for moment in first_known if days[0] < moment <= days[-1]]
at_first, in_the_end = known.loc[released], lagged.loc[released]
errors = pd.DataFrame(
    {
        "mean growth, in %": at_first.abs().mean() * 100,
        "mean later change, in %": (in_the_end - at_first).abs().mean() * 100,
        "quarters": len(released),
        "sign was wrong": (np.sign(in_the_end) != np.sign(at_first)).sum(),
    }
)
errors.round(2)

# %% [markdown]
# ## A strategy on each
#
# The market is *synthetic*: nobody trades these series. Each is turned into a price that moves on the day of a release,
# by the growth first published, so that a strategy earns what a reader of the news would have called right. The
# strategy holds the series that grew most, short all of them equally: momentum in growth.

# %%
surprise = pd.DataFrame(0.0, index=days, columns=names)
surprise.loc[released] = at_first
market = kn.Market.from_frames(
    close=100 * (1 + surprise).cumprod(), known=known.bfill(), lagged=lagged.bfill(), unlagged=unlagged
)


class Growth(kn.Strategy):
    """Hold the series that grew most, as seen through one of the three panels."""

    seen = kn.Choice(["known", "lagged", "unlagged"], default="known")
    top = kn.Int(1, 5, default=3)

    def weights(self, m):
        held = getattr(m, self.seen).rank(descending=True) <= self.top
        return held / held.cross_sum() - 1 / m.n_assets


trials = kn.sweep(
    Growth,
    market,
    grid={"seen": ["known", "lagged", "unlagged"], "top": [1, 2, 3, 4, 5]},
    fill="next_close",
    max_leverage=2,
)
sharpe = trials.pivot(index="top", columns="seen", values="sharpe")[["known", "lagged", "unlagged"]]
sharpe.round(2)

# %% [markdown]
# Whatever the number held, the same order. As known, the idea *loses*. With final values it looks harmless. Dated by
# their quarter it looks like a discovery, and it is a release read two months early. Nothing in the strategy itself
# is wrong; only the data are.

# %%
assert (sharpe["known"] < sharpe["lagged"]).all()
assert (sharpe["lagged"] < sharpe["unlagged"]).all()
sharpe.mean().round(2)
