"""Leaks of filling, joining and resampling: facts before they were told, periods before they were over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Specimen, frame, restated_market

__all__ = ["FILLING"]


class BackFilled(Strategy):
    """Fills a quarterly figure back to before it was reported."""

    def weights(self, m: Market) -> Any:
        """Row 1 holds the figure of row 10."""
        return frame(m, "eps").bfill() / 10


class Interpolated(Strategy):
    """Draws lines between reports."""

    def weights(self, m: Market) -> Any:
        """Row 1 lies on the line to row 10."""
        return frame(m, "eps").interpolate() / 10


class JoinedForward(Strategy):
    """Joins each day with the next report."""

    def weights(self, m: Market) -> Any:
        """Row 1 holds the figure of row 10."""
        return _joined(m, direction="forward")


class JoinedNearest(Strategy):
    """Joins each day with the nearest report, earlier or later."""

    def weights(self, m: Market) -> Any:
        """Row 6 holds the figure of row 10."""
        return _joined(m, direction="nearest")


class ByPeriodEnd(Strategy):
    """Dates a figure by the period it is about, not by the day it was published."""

    def weights(self, m: Market) -> Any:
        """Row 4 holds what was told on row 10."""
        eps, age = m.panel("eps"), m.panel("age")
        placed = np.full(m.shape, np.nan)
        rows = np.flatnonzero(~np.isnan(age[:, 0]))
        placed[np.maximum(rows - age[rows, 0].astype(np.int64), 0)] = eps[rows]
        return pd.DataFrame(placed, m.index, list(m.assets)).ffill() / 10


class ByMonthOfReport(Strategy):
    """Gives every day of a month the last figure reported in it."""

    def weights(self, m: Market) -> Any:
        """A month's first day knows its last report."""
        return frame(m, "eps").groupby(m.index.to_period("M")).transform("last") / 10


class MonthKnownAtItsStart(Strategy):
    """Holds all month by the average of that month."""

    def weights(self, m: Market) -> Any:
        """Every row but a month's last uses later ones."""
        close = frame(m)
        return close.groupby(m.index.to_period("M")).transform("mean") / close - 1


class LabelledByMonthStart(Strategy):
    """Resamples to months labelled by their first day, and fills forward to days."""

    def weights(self, m: Market) -> Any:
        """The label of a month's last price is the month's start."""
        close = frame(m)
        month = close.resample("MS").last().reindex(m.index, method="ffill").ffill()
        return month / close - 1


class WeekKnownOnMonday(Strategy):
    """Trades the week's range from its first day."""

    def weights(self, m: Market) -> Any:
        """Monday knows Friday's high."""
        weeks = m.index.to_period("W")
        high = frame(m, "high").groupby(weeks).transform("max")
        low = frame(m, "low").groupby(weeks).transform("min")
        return (high + low) / 2 / frame(m) - 1


class SplitAdjusted(Strategy):
    """Filters by a price that is adjusted for splits yet to come."""

    def weights(self, m: Market) -> Any:
        """Row t divides by the splits after t."""
        later = frame(m, "split")[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)
        return 5 / (frame(m) / later)


class FinalClose(Strategy):
    """Reads closes as the vendor has them today."""

    def weights(self, m: Market) -> Any:
        """Row t holds what was revised later."""
        final = pd.DataFrame(m.final_panel("close"), m.index, list(m.assets))
        return final.pct_change()


class RestatedRank(Strategy):
    """Ranks by today's version of history, where only some cells differ."""

    def weights(self, m: Market) -> Any:
        """Row t holds what was revised later."""
        return 5 / m.final_panel("close")


def _joined(m: Market, *, direction: Any) -> Any:
    days = pd.DataFrame({"day": m.index})
    parts = []
    for name in m.assets:
        reports = frame(m, "eps")[name].dropna().rename("eps").rename_axis("day").reset_index()
        parts.append(pd.merge_asof(days, reports, on="day", direction=direction)["eps"].to_numpy())
    return np.column_stack(parts) / 10


FILLING: tuple[Specimen, ...] = (
    Specimen(strategy=BackFilled, first_row=1, ahead=9, says="`bfill`"),
    Specimen(strategy=Interpolated, first_row=1, ahead=9, says="`interpolate`"),
    Specimen(strategy=JoinedForward, first_row=1, ahead=9, says="joining"),
    Specimen(strategy=JoinedNearest, ahead=9, says="direction='backward'"),
    Specimen(strategy=ByPeriodEnd, ahead=6, says="reads that many bars ahead"),
    Specimen(strategy=ByMonthOfReport, says="`groupby`"),
    Specimen(strategy=MonthKnownAtItsStart, first_row=0, ahead=22, says="`groupby`"),
    Specimen(strategy=LabelledByMonthStart, ahead=22, says="`resample`"),
    Specimen(strategy=WeekKnownOnMonday, ahead=4, says="`groupby`"),
    Specimen(strategy=SplitAdjusted, says="reversing the rows"),
    Specimen(strategy=FinalClose, kinds=("restated",), market=restated_market, says="`final`"),
    Specimen(strategy=RestatedRank, kinds=("restated",), market=restated_market, says="`final`"),
)
