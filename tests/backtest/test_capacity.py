"""Capacity by hand, and by running the same strategy on the larger account."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError

from .results_made import by_weights

DAYS = pd.bdate_range("2024-01-01", periods=6)


def worked(volume: list[float] | None = None, **account: object) -> kn.Result:
    """10,000 at a price of 10: 500 shares in on bar 1, 250 out on bar 2, 250 out on bar 3."""
    frames = {"close": pd.DataFrame({"A": [10.0] * 6}, DAYS)}
    if volume is not None:
        frames["volume"] = pd.DataFrame({"A": volume}, DAYS)
    wanted = np.array([0.5, 0.25, 0.0, 0.0, 0.0, 0.0])[:, None]
    return kn.backtest(
        by_weights(wanted), kn.Market.from_frames(**frames), cash=10_000, fill="next_close", size_at="fill", **account
    )


def test_participation_and_the_multiple_by_hand():
    """Fills of 500 of 10,000, 250 of 25,000 and 250 of 2,500: 5 %, 1 % and 10 % of the volume."""
    found = worked([1.0, 10_000, 25_000, 2_500, 1.0, 1.0]).capacity(limit=0.2, share=0.6)
    assert found.n_fills == 3
    assert found.participation.to_dict() == pytest.approx(
        {0.5: 0.05, 0.75: 0.1, 0.9: 0.1, 0.95: 0.1, 0.99: 0.1, 1.0: 0.1}
    ), "a quantile is one fill's own, the next larger"
    assert found.multiple == pytest.approx(2.0), "six in ten fills of three: all must stay within"
    assert found.account == pytest.approx(20_000)
    assert worked([1.0, 10_000, 25_000, 2_500, 1, 1]).capacity(limit=0.2, share=0.5).multiple == pytest.approx(4.0)
    assert math.isnan(found.impact_cost)
    assert math.isnan(found.half_life)


def test_a_fill_without_volume_is_an_infinite_share_of_it():
    found = worked([1.0, 10_000, 0, 2_500, 1.0, 1.0]).capacity()
    assert found.n_without_volume == 1
    assert found.participation[1.0] == math.inf
    assert found.multiple == 0.0
    assert "1 without volume" in repr(found)
    assert "<table>" in found._repr_html_()


def test_impact_by_hand():
    """0.1 of the price at the whole volume: 5,000 x 0.1 x sqrt(0.05), 2,500 x 0.1 x sqrt(0.01) and x sqrt(0.1)."""
    result = worked([1.0, 10_000, 25_000, 2_500, 1.0, 1.0])
    found = result.capacity(impact=0.1)
    paid = np.array([0, 500 * math.sqrt(0.05), 250 * 0.1, 250 * math.sqrt(0.1), 0, 0])
    assert found.impact_cost == pytest.approx(paid.mean() / 10_000 * result.bars_per_year)
    assert found.impact_at(4.0) == pytest.approx(2 * found.impact_cost)
    assert found.gross_return == 0.0
    assert found.half_life == 0.0, "nothing is earned"


def rising(cash: float) -> kn.Result:
    """Prices that rise, traded to and fro, and pay impact."""
    rng = np.random.default_rng(2)
    days = pd.bdate_range("2020-01-01", periods=400)
    close = pd.DataFrame(20 * np.exp(np.cumsum(rng.normal(0.002, 0.01, (400, 2)), axis=0)), days, ["A", "B"])
    volume = pd.DataFrame(np.round(1e6 * np.exp(rng.normal(0, 0.4, (400, 2)))), days, ["A", "B"])
    wanted = np.where(np.arange(400)[:, None] % 10 < 5, 0.45, 0.40) * np.ones((1, 2))
    market = kn.Market.from_frames(close=close, volume=volume)
    return kn.backtest(by_weights(wanted), market, cash=cash, fill="next_close", costs=kn.Costs(impact=0.1))


def test_an_account_of_the_multiple_is_what_was_said_of_it():
    """The law is held against runs of the larger accounts themselves."""
    small = rising(1e5)
    found = small.capacity(limit=0.01)
    within = rising(found.account).capacity(limit=0.01)
    assert within.multiple == pytest.approx(1.0, rel=0.05), "at the multiple the fills are at the limit"
    assert rising(4e5).capacity().impact_cost == pytest.approx(2 * found.impact_cost, rel=0.02)
    half = rising(1e5 * found.half_life).capacity()
    assert half.half_life == pytest.approx(1.0, rel=0.25), "growth is slower there, and so are the sizes"
    assert found.impact_cost == pytest.approx(small.capacity(impact=0.1).impact_cost, rel=1e-9), "what was paid"


def test_what_gives_no_capacity_is_told(tmp_path):
    with pytest.raises(InputError, match=r"(?s)needs the volume of each bar.*volume=\.\.\."):
        worked().capacity()
    never = [0.0] * 6
    with pytest.raises(InputError, match="Nothing was filled"):
        worked(never, volume_limit=0.1).capacity()
    good = worked([1e6] * 6)
    assert good.capacity(limit=np.int64(1), share=np.float32(0.5)).share == 0.5
    for options, text in (
        ({"limit": 0.0}, "`limit > 0`"),
        ({"share": 1.5}, "`0 < share <= 1`"),
        ({"impact": -1.0}, "`impact > 0`"),
        ({"limit": "x"}, "`limit > 0`"),
        ({"limit": True}, "`limit > 0`"),
    ):
        with pytest.raises(InputError, match=text):
            good.capacity(**options)
    loaded = kn.Result.load(good.save(tmp_path))
    assert repr(loaded.capacity(impact=0.2)) == repr(good.capacity(impact=0.2))
