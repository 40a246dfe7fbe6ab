"""`analyse`: a feature against the returns that follow it, as tables, figures and a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.analysis.measures import (
    autocorrelation,
    bucket_means,
    buckets,
    churn,
    correlation,
    forward,
    portfolio,
)
from knowable.analysis.question import Question, group_codes, question
from knowable.data.market import Market, members_of
from knowable.errors import DataError, InputError, shown, unknown_name
from knowable.features.feature import Feature
from knowable.features.models.unfitted import why_unfitted
from knowable.metrics.hac import mean_test

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["Analysis", "analyse"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Analysis:
    """What a feature said about the returns that followed. Nothing was traded, and the figures are in sample.

    Attributes:
        feature: its text.
        market: in words.
        horizons: bars over which returns were looked at.
        fill: where a position would have been entered; see `knowable.analysis.measures.forward`.
        cost_bps: of the money traded, for the net figures.
        summary: a row a horizon: ``ic_mean`` (mean over bars of the rank correlation across assets), ``ic_std``,
            ``ic_ir`` (mean over deviation, per bar), ``t`` and ``p`` (Newey-West, overlapping returns counted), ``hit``
            (share of bars with a positive one), ``n_bars``, ``spread`` (mean return of the top bucket less the
            bottom's), ``spread_t``, ``rank_autocorrelation`` (of the feature with itself that many bars before),
            ``turnover`` (mean share of the top and bottom bucket that is new after that many bars).
        ic: (n_bars, n_horizons) the rank correlation of each bar.
        quantile_returns: (n_buckets, n_horizons) mean return over the horizon; bucket 1 holds the lowest values.
        quantile_growth: (n_bars, n_buckets) growth of one unit of money held in each bucket, formed anew every bar,
            before costs; a bar's return stands at the bar of its decision.
        portfolio: bar by bar, of the weights in proportion to rank less its mean: ``gross``, ``turnover`` (money traded
            over money at work), ``net`` of costs.
        trading: its figures: ``annual_return`` and ``sharpe``, gross and net, ``turnover`` a bar, ``break_even_bps``.
        by_year: mean correlation of each year and horizon.
        by_group: mean, t and bars of the correlation within each group at the first horizon; empty without groups.
        notes: sentences to read before believing it.
    """

    feature: str
    market: str
    horizons: tuple[int, ...]
    fill: str
    cost_bps: float
    summary: pd.DataFrame
    ic: pd.DataFrame
    quantile_returns: pd.DataFrame
    quantile_growth: pd.DataFrame
    portfolio: pd.DataFrame
    trading: Mapping[str, float]
    by_year: pd.DataFrame
    by_group: pd.DataFrame
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        short = self.feature if len(self.feature) <= 90 else self.feature[:87] + "..."
        keys = ["ic_mean", "ic_ir", "t", "p", "hit", "spread", "spread_t", "rank_autocorrelation", "turnover"]
        table = self.summary[keys].rename(columns={"rank_autocorrelation": "autocorr"})
        lines = [f"Analysis of {short}", f"  {self.market}", *_indented(table)]
        trade = self.trading
        lines.append(
            f"  rank portfolio: {trade['gross_annual_return']:+.1%} a year gross (Sharpe {trade['gross_sharpe']:.2f}), "
            f"{trade['net_annual_return']:+.1%} net of {self.cost_bps:g} bps (Sharpe {trade['net_sharpe']:.2f}); "
            f"{trade['turnover']:.0%} traded a bar, break even at {trade['break_even_bps']:.1f} bps"
        )
        lines.append("  mean return by bucket, lowest to highest:")
        lines += _indented(self.quantile_returns.T)
        if len(self.by_group):
            lines += ["  within groups:", *_indented(self.by_group.head(8))]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        from knowable.report.sheet import render_body

        return render_body(self._sheet(few=True))

    def figures(self) -> dict[str, Figure]:
        """The charts by name: ``decay``, ``ic``, ``quantiles``, ``growth``, ``portfolio``."""
        from knowable.analysis.figures import figures

        return figures(self)

    def plot(self, name: str = "growth") -> Figure:
        """One of the charts. Raises: UnknownNameError."""
        found = self.figures()
        if name not in found:
            raise unknown_name("figure", name, found, where="the analysis")
        return found[name]

    def write(self, path: str | Path) -> Path:
        """Write one self-contained HTML page. Returns: the path. Raises: InputError if `path` is a folder."""
        from knowable.report.sheet import write

        return write(self._sheet(few=False), path)

    def _sheet(self, *, few: bool) -> Any:
        from knowable.analysis.figures import sheet

        return sheet(self, few=few)


def analyse(
    feature: Feature,
    market: Market | None = None,
    *,
    horizons: Sequence[int] = (1, 5, 21),
    quantiles: int = 5,
    fill: str | None = None,
    groups: object = None,
    cost_bps: float = 10.0,
    min_assets: int = 5,
) -> Analysis:
    """Compare a feature with the returns that follow it, across the assets of each bar.

    Where the market has a universe, only members count. A position decided on bar t is entered at the next bar's price,
    so nothing here earns a return that the feature has seen. An asset that is gone at a horizon's end is sold at its
    last price.

    Args:
        feature: what to look at.
        market: evaluates it there; its own market when None.
        horizons: bars, each >= 1.
        quantiles: number of buckets by rank, >= 2, as `Feature.quantile` has them; equal values share a bucket.
        fill: ``"next_open"``, ``"next_close"`` or ``"close"`` (the very price the feature may have seen: optimistic).
            The next open where the market has one, else the next close, when None.
        groups: a feature, a panel of numbers or names, or a mapping asset -> name; correlations are then shown within
            each group too.
        cost_bps: of the money traded, taken from the rank portfolio's net return, >= 0.
        min_assets: bars of fewer values are left out, >= 2.

    Returns: an `Analysis`; its repr is a table, ``.write("page.html")`` a page.

    Raises: InputError for arguments out of range; DataError where no bar has values and returns of enough assets.
    """
    if not isinstance(feature, Feature):
        raise InputError(f"`feature` must be a feature, such as market.close, but it is {shown(feature)}.")
    where = feature.market if market is None else market
    if not isinstance(where, Market):
        raise InputError(f"`market` must be a kn.Market, but it is {shown(market)}.")
    asked = question(where, horizons=horizons, quantiles=quantiles, fill=fill, cost_bps=cost_bps, min_assets=min_assets)
    return _answer(feature, where, asked, groups)


def _answer(feature: Feature, where: Market, asked: Question, groups: object) -> Analysis:
    spans, n_buckets, least = asked.spans, asked.n_buckets, asked.least
    values = Feature(feature.node, where).values()
    members = members_of(where)
    x = np.where(np.isinf(values), np.nan, values) if members is None else np.where(members, values, np.nan)
    x = np.where(np.isinf(x), np.nan, x)
    gains = {h: forward(where, h, asked.fill) for h in spans}
    ic = np.column_stack([correlation(x, gains[h], least) for h in spans])
    if not np.isfinite(ic).any():
        raise DataError(_nothing(Feature(feature.node, where), x, gains[spans[0]], least))
    bucket = buckets(x, n_buckets, least)
    means = {h: bucket_means(bucket, gains[h], n_buckets) for h in spans}
    index = where.index
    ones = bucket_means(bucket, forward(where, 1, asked.fill), n_buckets)
    summary = _summary(x, bucket, ic, means, asked)
    by_group = _by_group(x, gains[spans[0]], groups, where, asked)
    traded = _portfolio(x, forward(where, 1, asked.fill), least, asked.cost_bps)
    columns = pd.Index(spans, name="horizon")
    return Analysis(
        feature=repr(feature),
        market=f"{where!r}",
        horizons=spans,
        fill=asked.fill,
        cost_bps=asked.cost_bps,
        summary=summary,
        ic=pd.DataFrame(ic, index=index, columns=columns),
        quantile_returns=pd.DataFrame(
            np.column_stack([_mean(means[h]) for h in spans]),
            index=pd.RangeIndex(1, n_buckets + 1, name="bucket"),
            columns=columns,
        ),
        quantile_growth=pd.DataFrame(
            np.cumprod(1.0 + np.nan_to_num(ones), axis=0), index=index, columns=range(1, n_buckets + 1)
        ),
        portfolio=traded.set_index(index),
        trading=_trading(traded, where.bars_per_year, asked.cost_bps),
        by_year=pd.DataFrame(ic, index=index.year, columns=columns).groupby(level=0).mean().rename_axis("year"),
        by_group=by_group,
        notes=(*_notes(where, asked.fill, x), *_gaps(summary, by_group, asked)),
    )


def _summary(
    x: npt.NDArray[np.float64],
    bucket: npt.NDArray[np.float64],
    ic: npt.NDArray[np.float64],
    means: Mapping[int, npt.NDArray[np.float64]],
    asked: Question,
) -> pd.DataFrame:
    rows = []
    for k, h in enumerate(asked.spans):
        test = mean_test(ic[:, k], overlap=h)
        spread = mean_test(means[h][:, -1] - means[h][:, 0], overlap=h)
        new = churn(bucket, asked.n_buckets, h)[:, [0, -1]]
        held = ic[:, k][~np.isnan(ic[:, k])]
        rows.append(
            {
                "ic_mean": test.mean,
                "ic_std": test.std,
                "ic_ir": test.mean / test.std if test.std > 0 else math.nan,
                "t": test.t,
                "p": test.p,
                "hit": float((held > 0).mean()) if len(held) else math.nan,
                "n_bars": test.n,
                "spread": spread.mean,
                "spread_t": spread.t,
                "rank_autocorrelation": float(_mean(autocorrelation(x, h, asked.least)[:, None])[0]),
                "turnover": float(_mean(new.mean(axis=1)[:, None])[0]),
            }
        )
    return pd.DataFrame(rows, index=pd.Index(asked.spans, name="horizon"))


def _portfolio(x: Any, gain: npt.NDArray[np.float64], least: int, cost_bps: float) -> pd.DataFrame:
    weights = portfolio(np.where(np.isnan(gain), np.nan, x), least)
    gross = (weights * np.nan_to_num(gain)).sum(axis=1)
    traded = np.abs(np.diff(weights, axis=0, prepend=0.0)).sum(axis=1)
    return pd.DataFrame({"gross": gross, "turnover": traded, "net": gross - cost_bps / 1e4 * traded})


def _trading(traded: pd.DataFrame, bars_per_year: float, cost_bps: float) -> dict[str, float]:
    active = traded[traded["turnover"].cumsum() > 0]
    out: dict[str, float] = {}
    for kind in ("gross", "net"):
        mean, std = float(active[kind].mean()), float(active[kind].std())
        out[f"{kind}_annual_return"] = mean * bars_per_year
        out[f"{kind}_sharpe"] = mean / std * math.sqrt(bars_per_year) if std > 0 else math.nan
    spent = float(active["turnover"].mean())
    out["turnover"], out["cost_bps"] = spent, cost_bps
    out["break_even_bps"] = 1e4 * float(active["gross"].mean()) / spent if spent > 0 else math.nan
    return out


def _by_group(x: Any, gain: Any, groups: object, market: Market, asked: Question) -> pd.DataFrame:
    rows = []
    if groups is not None:
        codes, names = group_codes(groups, market)
        for code in np.unique(codes[~np.isnan(codes)]).tolist():
            test = mean_test(correlation(np.where(codes == code, x, np.nan), gain, asked.least), overlap=asked.spans[0])
            rows.append({"group": names.get(code, f"{code:g}"), "ic_mean": test.mean, "t": test.t, "n_bars": test.n})
    return pd.DataFrame(rows, columns=["group", "ic_mean", "t", "n_bars"]).set_index("group")


def _notes(market: Market, fill: str, x: npt.NDArray[np.float64]) -> tuple[str, ...]:
    notes = ["All of it is in sample: it says nothing about how many other features were tried before this one."]
    if fill == "close":
        notes.append("optimistic: positions are entered at the very close that the feature may have seen.")
    if market.n_bars > 250 and not np.isnan(market.final_panel("close")[-1]).any() and market.n_assets > 20:
        notes.append("No asset ends before the market does; a list of survivors makes any feature look better.")
    empty = int(np.isnan(x).all(axis=1).sum())
    if empty:
        notes.append(f"{empty:,} of {market.n_bars:,} bars have no value of the feature.")
    return tuple(notes)


def _gaps(summary: pd.DataFrame, by_group: pd.DataFrame, asked: Question) -> list[str]:
    """Why figures are missing."""
    notes = []
    silent = [str(h) for h in asked.spans if summary.loc[h, "n_bars"] == 0]
    if silent:
        notes.append(f"No bar has values and returns of {asked.least} assets at horizon {', '.join(silent)}.")
    if summary["spread"].isna().all():
        notes.append(
            f"There is no spread: no bar fills both bucket 1 and bucket {asked.n_buckets}. Equal values share a "
            "bucket, and a bar needs as many values as buckets; fewer quantiles help."
        )
    small = by_group.index[by_group["n_bars"] == 0]
    if len(small):
        notes.append(
            f"{len(small)} of {len(by_group)} groups, first {shown(str(small[0]))}, have no bar with values and "
            f"returns of {asked.least} assets; min_assets= says how many are needed."
        )
    return notes


def _mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means of columns without missing values; NaN, and no warning, for an empty column."""
    n = (~np.isnan(values)).sum(axis=0)
    out: npt.NDArray[np.float64] = np.full(values.shape[1], np.nan)
    np.divide(np.nansum(values, axis=0), n, out=out, where=n > 0)
    return out


def _indented(table: pd.DataFrame) -> list[str]:
    return ["    " + line for line in table.to_string(float_format=lambda v: f"{v:.4g}").splitlines()]


def _nothing(feature: Feature, x: npt.NDArray[np.float64], gain: npt.NDArray[np.float64], least: int) -> str:
    most = int((~(np.isnan(x) | np.isnan(gain))).sum(axis=1).max(initial=0))
    why = (
        f"no bar has values and returns of {least} assets, the most is {most}.\nA longer market, a shorter window or "
        "min_assets= help."
        if most < least
        else "its values are the same for all assets of a bar.\nSuch a feature says when to invest, not in what."
    )
    return f"`{feature!r}` cannot be analysed: {why_unfitted(feature) or why}"
