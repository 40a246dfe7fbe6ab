"""Test surfaces for search: two smooth ones, a ragged one as backtests have, one of mixed types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from knowable.params import Choice, Float, Int, Param, Scalar

__all__ = ["HARTMANN6", "LEVY8", "MIXED", "PROBLEMS", "RAGGED", "Problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A surface to minimise.

    Attributes:
        name: short.
        params: what to search; the defaults are mediocre on purpose, so that the first trial gives nothing away.
        value: params -> value.
        optimum: the lowest value, exact or the lowest ever found.
    """

    name: str
    params: Mapping[str, Param]
    value: Callable[[Mapping[str, Scalar]], float]
    optimum: float


def _hartmann6(params: Mapping[str, Scalar]) -> float:
    """Hartmann function in six dimensions (Dixon and Szegö 1978); lowest -3.32237."""
    x = np.array([float(params[f"x{k}"]) for k in range(6)])  # type: ignore[arg-type]
    weights = np.array([1.0, 1.2, 3.0, 3.2])
    scales = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    centres = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    return float(-np.sum(weights * np.exp(-np.sum(scales * (x - centres) ** 2, axis=1))))


def _levy8(params: Mapping[str, Scalar]) -> float:
    """Levy function in eight dimensions (Laguna and Marti 2005); lowest 0 at all ones."""
    x = np.array([float(params[f"x{k}"]) for k in range(8)])  # type: ignore[arg-type]
    w = 1 + (x - 1) / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + inner.sum() + last)


@cache
def _path() -> NDArray[np.float64]:
    """(2200,) log prices with slow regimes of drift, bursts of volatility and reversals."""
    rng = np.random.default_rng(20)
    n = 2200
    drift = np.repeat(rng.normal(0.0, 0.0009, 22), 100)
    volatility = 0.01 * np.exp(np.repeat(rng.normal(0.0, 0.35, 44), 50))
    noise = rng.standard_normal(n)
    path = np.cumsum(drift + volatility * (noise - 0.12 * np.roll(noise, 1)))
    return np.asarray(path)


def _mean(x: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    total = np.cumsum(np.concatenate([[0.0], x]))
    start = np.maximum(np.arange(1, len(x) + 1) - window, 0)
    return np.asarray((total[1:] - total[start]) / (np.arange(1, len(x) + 1) - start))


def _ragged(params: Mapping[str, Scalar]) -> float:
    """Minus the Sharpe ratio of a crossing of two averages with bands and a volatility filter, after costs.

    Whole-number windows and thresholds make plateaus and cliffs; thin samples make needles, as in a real backtest.
    """
    fast, slow, gauge, hold = (int(params[name]) for name in ("fast", "slow", "gauge", "hold"))  # type: ignore[arg-type]
    long_band, short_band, calm = (float(params[name]) for name in ("long_band", "short_band", "calm"))  # type: ignore[arg-type]
    price = _path()
    returns = np.diff(price, prepend=price[0])
    if fast >= slow:
        return 0.0
    sigma = np.sqrt(_mean(returns**2, gauge)) + 1e-12
    gap = (_mean(price, fast) - _mean(price, slow)) / (sigma * math.sqrt(slow))
    wanted = np.where(gap > long_band, 1.0, np.where(gap < -short_band, -1.0, 0.0))
    wanted[sigma > calm * 0.01] = 0.0
    held = np.repeat(wanted[::hold], hold)[: len(price)]
    held[:250] = 0.0
    earned = held[:-1] * returns[1:] - 0.0006 * np.abs(np.diff(held, prepend=0.0))[:-1]
    earned = earned[250:]
    spread = earned.std()
    return 0.0 if spread < 1e-9 else float(-earned.mean() / spread * math.sqrt(252))


def _mixed(params: Mapping[str, Scalar]) -> float:
    """A model's error over choices, counts and rates: each kind has its own best rate, ripples hide the slope.

    The lowest value is 0, at net, log, robust, rate 10**-2.9, decay 10**-3.5, depth 4, width 64.
    """
    kind, link, robust = params["kind"], params["link"], params["robust"]
    rate, decay = math.log10(float(params["rate"])), math.log10(float(params["decay"]))  # type: ignore[arg-type]
    depth, width = int(params["depth"]), math.log2(int(params["width"]))  # type: ignore[arg-type]
    offset, best_rate, best_depth = {
        "tree": (0.5, -1.0, 9), "net": (0.0, -2.9, 4), "linear": (0.9, -4.2, 1), "kernel": (0.35, -2.0, 6),
    }[str(kind)]  # fmt: skip
    error = offset + {"identity": 0.25, "log": 0.0, "rank": 0.12}[str(link)] * (1.0 if kind != "linear" else 2.0)
    error += 0.15 * (robust != (kind == "net"))
    error += 0.35 * (rate - best_rate) ** 2 + 0.1 * (1 - math.cos(5 * (rate - best_rate)))
    error += 0.03 * (depth - best_depth) ** 2 + 0.06 * ((depth - best_depth) % 2)
    error += 0.12 * (width - 6) ** 2 + 0.05 * (decay + 3.5 + 0.6 * (rate - best_rate)) ** 2
    return error


HARTMANN6 = Problem(
    name="hartmann6",
    params={f"x{k}": Float(0, 1, default=(0.9, 0.2, 0.8, 0.9, 0.7, 0.15)[k]) for k in range(6)},
    value=_hartmann6,
    optimum=-3.322368011415515,
)
LEVY8 = Problem(
    name="levy8",
    params={f"x{k}": Float(-10, 10, default=(-6, 7, 4, -8, 5, -3, 8, -5)[k]) for k in range(8)},
    value=_levy8,
    optimum=0.0,
)
RAGGED = Problem(
    name="ragged",
    params={
        "fast": Int(2, 60, default=50),
        "slow": Int(10, 250, default=200),
        "gauge": Int(5, 100, default=60, log=True),
        "hold": Int(1, 20, default=15),
        "long_band": Float(0, 1.5, default=1.0),
        "short_band": Float(0, 1.5, default=0.3),
        "calm": Float(0.5, 3.0, default=0.8),
    },
    value=_ragged,
    optimum=-2.0333,
)
MIXED = Problem(
    name="mixed",
    params={
        "kind": Choice(["linear", "tree", "kernel", "net"]),
        "link": Choice(["identity", "log", "rank"]),
        "robust": Choice([False, True]),
        "rate": Float(1e-6, 1, default=1e-1, log=True),
        "decay": Float(1e-6, 1, default=1e-5, log=True),
        "depth": Int(1, 12, default=10),
        "width": Int(1, 1024, default=4, log=True),
    },
    value=_mixed,
    optimum=0.0,
)
PROBLEMS = (HARTMANN6, LEVY8, RAGGED, MIXED)
