"""Which bar ends a period, as the bars up to it tell: against a slow look at the whole past, and in any pieces."""

from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from knowable.calendars import calendar
from knowable.data.market import Market
from knowable.testing.clock_oracle import SlowClock

NAN = np.nan
PERIODS = ["day_end", "week_end", "month_end", "quarter_end", "year_end"]


def nanos(index):
    return pd.DatetimeIndex(index).as_unit("ns").asi8


TIMES = {  # what a market's rows may be: its calendar and its bar ends
    "days without a calendar": (None, nanos(pd.date_range("2020-02-10", periods=60, freq="D"))),
    "weekdays without a calendar": (None, nanos(pd.bdate_range("2019-12-09", periods=60))),
    "hours without a calendar": (None, nanos(pd.date_range("2020-02-20T05", periods=60, freq="8h"))),
    "sessions": ("XNYS", calendar("XNYS").bars("session", "2019-12-09", "2020-03-10")),
    "bars of an exchange": ("XNYS", calendar("XNYS").bars("130min", "2016-10-28", "2016-11-29")),
    "bars with a lunch break": ("XHKG", calendar("XHKG").bars("2h", "2021-03-25", "2021-04-15")),
    "bars round the clock": ("24/7", calendar("24/7").bars("8h", "2020-02-20", "2020-03-10")),
}


@st.composite
def markets(draw):
    """Rows of any kind, some of them left out, with gaps in the values."""
    name, times = TIMES[draw(st.sampled_from(sorted(TIMES)))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = draw(st.integers(0, 40))
    times = times[start : start + draw(st.integers(1, 40))]
    times = times[np.sort(rng.choice(len(times), draw(st.integers(1, len(times))), replace=False))]
    x = rng.normal(size=(len(times), 2)).round(1)
    x[rng.random(x.shape) < draw(st.sampled_from([0.0, 0.3]))] = NAN
    return Market.build(times=times, assets=("A", "B"), panels={"x": x}, calendar=name)


everies = st.sampled_from([*PERIODS, 2, 7])


def shown(market, every, cuts=()):
    """The codes of `Clock.ends`, in the pieces that `cuts` make."""
    clock, state = market.clock, market.clock.start()
    edges = [0, *sorted(min(cut, market.n_bars) for cut in cuts), market.n_bars]
    return np.concatenate([clock.ends(market.times[a:b], every, state) for a, b in pairwise(edges)])


@given(market=markets(), every=everies)
def test_each_row_tells_of_the_ends_that_its_past_tells_of(market, every):
    rows = SlowClock(market).shown(every)
    codes = shown(market, every)[:, 0]
    assert [[t - 1] * (code >= 2) + [t] * (code in (1, 3)) for t, code in enumerate(codes.tolist())] == rows


@given(market=markets(), every=everies, cuts=st.lists(st.integers(0, 40), max_size=4))
def test_the_ends_are_the_same_in_any_pieces(market, every, cuts):
    assert shown(market, every, cuts).tobytes() == shown(market, every).tobytes()
