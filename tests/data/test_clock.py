"""Which bar ends a period, as the bars up to it tell: against a slow look at the whole past, and in any pieces."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from knowable.testing.clock_markets import EVERY, KINDS, clocked_market
from knowable.testing.clock_oracle import SlowClock

markets = st.builds(
    clocked_market,
    st.sampled_from(KINDS),
    start=st.integers(0, 40),
    n_rows=st.integers(1, 40),
    n_kept=st.integers(1, 40),
    missing=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32 - 1),
)
everies = st.sampled_from(EVERY)


def shown(market, every, cuts=()):
    """The codes of `Clock.ends`, in the pieces that `cuts` make."""
    clock, state = market.clock, market.clock.start()
    edges = [0, *sorted(min(cut, market.n_bars) for cut in cuts), market.n_bars]
    return np.concatenate([clock.ends(market.times[a:b], every, state) for a, b in pairwise(edges)])


@given(market=markets, every=everies)
def test_each_row_tells_of_the_ends_that_its_past_tells_of(market, every):
    rows = SlowClock(market).shown(every)
    codes = shown(market, every)[:, 0]
    assert [[t - 1] * (code >= 2) + [t] * (code in (1, 3)) for t, code in enumerate(codes.tolist())] == rows


@given(market=markets, every=everies, cuts=st.lists(st.integers(0, 40), max_size=4))
def test_the_ends_are_the_same_in_any_pieces(market, every, cuts):
    assert shown(market, every, cuts).tobytes() == shown(market, every).tobytes()
