"""The arithmetic of factor analysis: forward returns, rank correlation, buckets, turnover, a rank portfolio."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.data.market import Market
from knowable.errors import unknown_name
from knowable.kernels.cross_section import bucket_kernel, rank_kernel

__all__ = [
    "FILLS",
    "autocorrelation",
    "bucket_means",
    "buckets",
    "churn",
    "correlation",
    "forward",
    "portfolio",
    "ranks",
]

Panel: TypeAlias = npt.NDArray[np.float64]

FILLS = {"next_open": ("open", 1), "next_close": ("close", 1), "close": ("close", 0)}


def forward(market: Market, horizon: int, fill: str) -> Panel:
    """What a purchase decided on each bar earns over `horizon` bars.

    Args:
        market: its final prices are what trades.
        horizon: bars from entry to exit, >= 1.
        fill: ``"next_open"``: from the open of bar t + 1 to the open of bar t + 1 + horizon; ``"next_close"`` likewise
            with closes; ``"close"``: from the close of bar t itself, which nobody could trade at.

    Returns: (n_bars, n_assets) fractions. NaN: no price to enter at, or the market ends before the exit. An asset that
        is gone by then (delisted, no price) is sold at its last price, so that the dead count.
    """
    if fill not in FILLS:
        raise unknown_name("fill", fill, FILLS)
    name, lag = FILLS[fill]
    price = market.final_panel(name)
    out = np.full(price.shape, np.nan)
    last = len(price) - lag - horizon
    if last > 0:
        held = _held(price)
        out[:last] = held[lag + horizon :] / price[lag : lag + last] - 1.0
    return out


def ranks(x: Panel) -> Panel:
    """Ranks within each bar, 1 the smallest, ties their average; NaN where x is NaN."""
    out = np.empty(x.shape)
    rank_kernel(np.ascontiguousarray(x), False, out)
    return out


def correlation(x: Panel, y: Panel, min_assets: int) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation of each bar over the assets that have both; NaN for fewer than `min_assets`."""
    both = ~(np.isnan(x) | np.isnan(y))
    a, b = (ranks(np.where(both, values, np.nan)) for values in (x, y))
    n = both.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (np.where(both, values - (n[:, None] + 1) / 2.0, 0.0) for values in (a, b))
        out: npt.NDArray[np.float64] = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    out[n < max(min_assets, 2)] = np.nan
    out.clip(-1.0, 1.0, out=out)
    return out


def buckets(x: Panel, n_buckets: int, min_assets: int) -> Panel:
    """Bucket 1 (lowest) to `n_buckets` of each asset by its rank in the bar, as the language's `quantile` has them.

    NaN where x is, and in bars of fewer assets than `min_assets` or buckets.
    """
    out = np.empty(x.shape)
    bucket_kernel(np.ascontiguousarray(x), n_buckets, out)
    n = (~np.isnan(x)).sum(axis=1)[:, None]
    return np.where(n >= max(min_assets, n_buckets), out, np.nan)


def bucket_means(bucket: Panel, y: Panel, n_buckets: int) -> Panel:
    """(n_bars, n_buckets) mean of y over the assets of each bucket that have it; NaN for an empty one."""
    out = np.empty((len(y), n_buckets))
    there = ~np.isnan(y)
    for k in range(n_buckets):
        inside = there & (bucket == k + 1)
        n = inside.sum(axis=1)
        total = np.where(inside, y, 0.0).sum(axis=1)
        out[:, k] = np.divide(total, n, out=np.full(len(y), np.nan), where=n > 0)
    return out


def churn(bucket: Panel, n_buckets: int, lag: int) -> Panel:
    """(n_bars, n_buckets) share of a bucket's assets that were not in it `lag` bars before; NaN without either."""
    out = np.full((len(bucket), n_buckets), np.nan)
    for k in range(n_buckets):
        inside = bucket == k + 1
        n, before = inside[lag:].sum(axis=1), inside[: len(bucket) - lag].sum(axis=1)
        fresh = (inside[lag:] & ~inside[: len(bucket) - lag]).sum(axis=1)
        out[lag:, k] = np.divide(fresh, n, out=np.full(len(n), np.nan), where=(n > 0) & (before > 0))
    return out


def autocorrelation(x: Panel, lag: int, min_assets: int) -> npt.NDArray[np.float64]:
    """(n_bars,) rank correlation of each bar's values with those `lag` bars before."""
    out = np.full(len(x), np.nan)
    if lag < len(x):
        out[lag:] = correlation(x[lag:], x[: len(x) - lag], min_assets)
    return out


def portfolio(x: Panel, min_assets: int) -> Panel:
    """(n_bars, n_assets) weights in proportion to rank less its mean: long what is high, short what is low.

    Longs and shorts each sum to one half, so that one unit of money is at work; 0 in bars of fewer than `min_assets`
    values or of equal ones, and where x is NaN.
    """
    held = ~np.isnan(x)
    n = held.sum(axis=1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.where(held, ranks(x) - (n + 1) / 2.0, 0.0)
        out = centred / np.abs(centred).sum(axis=1, keepdims=True)
    return np.where((n >= max(min_assets, 2)) & np.isfinite(out), out, 0.0)


def _held(price: Panel) -> Panel:
    """The last price at or before each bar."""
    rows = np.where(np.isnan(price), 0, np.arange(len(price))[:, None])
    np.maximum.accumulate(rows, axis=0, out=rows)
    found: Panel = np.take_along_axis(price, rows, axis=0)
    return found
