"""Functions across a bar's assets on 5,000 x 500 with gaps: ours, pandas, polars, and the loop a person would write.

pandas works on the wide frame, polars on the long table with ``over("bar")``, each as its own users would; the tables
are made beforehand. By hand means plain loops without regard to ties, gaps or rounding: the limit of one thread. A
regression of each bar is numpy's ``lstsq`` a row for pandas' users, and the closed formula of one feature in polars.
All give the same numbers but for buckets where 10 do not divide a bar. Run as ``python -m benchmarks.cross``; ratios
are times of the peer over ours, measured in one run on one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import polars as pl
from numba import njit

from benchmarks.rolling import rank_by_hand, warm
from knowable.data.market import Market

N_BARS, N_ASSETS, N_SECTORS, GAPS, SHARE = 5_000, 500, 11, 0.01, 0.05
Case = dict[str, Callable[[], Any]]


def panels() -> dict[str, np.ndarray]:
    """What is to be crossed, its sectors, which change twice a year, and three features it may depend on."""
    rng = np.random.default_rng(0)
    shape = (N_BARS, N_ASSETS)
    x = rng.standard_t(4, size=shape)
    x[rng.random(shape) < GAPS] = np.nan
    sector = np.repeat(rng.integers(0, N_SECTORS, (N_BARS // 125, N_ASSETS)), 125, axis=0).astype(float)
    return {
        "x": x,
        "sector": sector,
        "size": rng.lognormal(size=shape),
        **dict(zip("uv", rng.normal(size=(2, *shape)), strict=True)),
    }


@njit(cache=True, nogil=True, error_model="numpy")
def zscore_by_hand(x, out):
    for t in range(x.shape[0]):
        total, squares = 0.0, 0.0
        for j in range(x.shape[1]):
            total += x[t, j]
            squares += x[t, j] * x[t, j]
        mean = total / x.shape[1]
        scale = np.sqrt((squares - mean * total) / (x.shape[1] - 1))
        for j in range(x.shape[1]):
            out[t, j] = (x[t, j] - mean) / scale


@njit(cache=True, nogil=True, error_model="numpy")
def neutralize_by_hand(x, size, out):
    n = x.shape[1]
    for t in range(x.shape[0]):
        sx, ss, sxs, sss = 0.0, 0.0, 0.0, 0.0
        for j in range(n):
            sx += x[t, j]
            ss += size[t, j]
            sxs += x[t, j] * size[t, j]
            sss += size[t, j] * size[t, j]
        slope = (sxs - sx * ss / n) / (sss - ss * ss / n)
        level = (sx - slope * ss) / n
        for j in range(n):
            out[t, j] = x[t, j] - level - slope * size[t, j]


@njit(cache=True, nogil=True, error_model="numpy")
def sectors_by_hand(x, sector, out):
    total, count = np.empty(N_SECTORS), np.empty(N_SECTORS)
    for t in range(x.shape[0]):
        total[:], count[:] = 0.0, 0.0
        for j in range(x.shape[1]):
            g = int(sector[t, j])
            total[g] += x[t, j]
            count[g] += 1.0
        for j in range(x.shape[1]):
            g = int(sector[t, j])
            out[t, j] = x[t, j] - total[g] / count[g]


def by_lstsq(x: np.ndarray, *by: np.ndarray) -> np.ndarray:
    """Row by row, as pandas' users do it."""
    out = np.full(x.shape, np.nan)
    ones = np.ones(x.shape[1])
    for t in range(len(x)):
        known = x[t] == x[t]
        columns = np.stack([ones, *(each[t] for each in by)], axis=1)[known]
        out[t, known] = x[t, known] - columns @ np.linalg.lstsq(columns, x[t, known])[0]
    return out


def cases() -> dict[str, Case]:
    """Each function: who computes it how."""
    given = panels()
    names = tuple(f"A{j}" for j in range(N_ASSETS))
    m = Market.build(times=np.arange(1, N_BARS + 1) * 86_400 * 10**9, assets=names, panels=given)
    x, frame, full = given["x"], pd.DataFrame(given["x"]), np.nan_to_num(given["x"])
    long = pd.DataFrame({name: panel.ravel() for name, panel in given.items()})
    long["bar"] = np.repeat(np.arange(N_BARS), N_ASSETS)
    table = pl.from_pandas(long, nan_to_null=True)
    out = np.empty_like(x)
    c, size = pl.col("x"), pl.when(pl.col("x").is_not_null()).then(pl.col("size"))
    centered, sized = c - c.mean(), size - size.mean()
    of = lambda formula: lambda: table.select(formula.over("bar"))  # noqa: E731
    return {
        "rank": {
            "knowable": m.x.rank().values,
            "pandas": lambda: frame.rank(axis=1),
            "polars": of(c.rank()),
            "by hand": lambda: rank_by_hand(full, out),
        },
        "zscore": {
            "knowable": m.x.zscore().values,
            "pandas": lambda: frame.sub(frame.mean(axis=1), axis=0).div(frame.std(axis=1), axis=0),
            "polars": of(centered / c.std()),
            "by hand": lambda: zscore_by_hand(full, out),
        },
        "winsorize": {
            "knowable": m.x.winsorize(SHARE).values,
            "pandas": lambda: frame.clip(frame.quantile(SHARE, axis=1), frame.quantile(1 - SHARE, axis=1), axis=0),
            "polars": of(c.clip(c.quantile(SHARE, "linear"), c.quantile(1 - SHARE, "linear"))),
        },
        "quantile": {
            "knowable": m.x.quantile(10).values,
            "pandas": lambda: np.ceil(frame.rank(axis=1, pct=True) * 10),
            "polars": of((c.rank() / c.count() * 10).ceil()),
        },
        "group_neutralize": {
            "knowable": m.x.group_neutralize(m.sector).values,
            "pandas": lambda: long["x"] - long.groupby(["bar", "sector"])["x"].transform("mean"),
            "polars": lambda: table.select(c - c.mean().over("bar", "sector")),
            "by hand": lambda: sectors_by_hand(full, given["sector"], out),
        },
        "group_rank": {
            "knowable": m.x.group_rank(m.sector).values,
            "pandas": lambda: long.groupby(["bar", "sector"])["x"].rank(method="average"),
            "polars": lambda: table.select(c.rank().over("bar", "sector")),
        },
        "neutralize to one feature": {
            "knowable": m.x.neutralize(m.size).values,
            "numpy, a row": lambda: by_lstsq(x, given["size"]),
            "polars": of(centered - sized * (centered * sized).sum() / (sized * sized).sum()),
            "by hand": lambda: neutralize_by_hand(full, given["size"], out),
        },
        "neutralize to three features": {
            "knowable": m.x.neutralize(m.size, m.u, m.v).values,
            "numpy, a row": lambda: by_lstsq(x, given["size"], given["u"], given["v"]),
        },
    }  # fmt: skip


def measure(repeat: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each function and peer."""
    return {
        name: {peer: warm(call, repeat if peer in ("knowable", "by hand") else 2) * 1e3 for peer, call in case.items()}
        for name, case in cases().items()
    }


def run(repeat: int = 5) -> list[dict[str, Any]]:
    """Rows for the common table: our milliseconds beside each other's."""
    rows = []
    for name, times in measure(repeat).items():
        ours = times["knowable"]
        for peer, took in times.items():
            if peer != "knowable":
                row = {"case": f"{name}, {N_BARS:,} x {N_ASSETS}", "ours": ours, "peer_name": peer, "peer": took}
                rows.append({**row, "ratio": took / ours, "unit": "ms"})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    chosen = parser.parse_args()
    times = measure(chosen.repeat)
    for name, row in times.items():
        ours = row["knowable"]
        others = [f"{peer} {took:.1f} ms ({took / ours:.1f}x)" for peer, took in row.items() if peer != "knowable"]
        print(f"{name:30s} {ours:7.1f} ms; {', '.join(others)}")
    if chosen.out:
        chosen.out.write_text(json.dumps({"milliseconds": times}, indent=2))


if __name__ == "__main__":
    main()
