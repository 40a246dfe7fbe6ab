"""Pages to report on: built here, so that every number in them is known."""

import numpy as np
import pandas as pd
import pytest

from knowable.report import Doubt, Page


def walk(n: int, seed: int = 0, start: str = "2018-01-01") -> pd.Series:
    steps = np.random.default_rng(seed).normal(0.0005, 0.01, n)
    return pd.Series(1e6 * np.cumprod(1.0 + steps), index=pd.bdate_range(start, periods=n))


def exposure_frame(n: int) -> pd.DataFrame:
    gross = 0.5 + 0.4 * np.sin(np.arange(n) / 50)
    return pd.DataFrame({"gross": gross, "net": gross - 0.2}, index=walk(n).index)


def trial_frame(n: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "number": np.arange(n),
            "lookback": rng.integers(20, 250, n),
            "top": rng.integers(3, 11, n),
            "decay": 10.0 ** rng.uniform(-3, 0, n),
            "weighting": rng.choice(["equal", "rank"], n),
            "long_only": rng.random(n) < 0.5,
            "sharpe": rng.normal(0.7, 0.3, n),
            "error": None,
        }
    )
    frame.loc[frame.index[:4], "sharpe"] = np.nan
    frame.loc[frame.index[:4], "error"] = "StrategyError: no bars"
    return frame


def fold_frame() -> pd.DataFrame:
    years = range(2019, 2023)
    return pd.DataFrame(
        {
            "number": range(1, 5),
            "test_start": pd.to_datetime([f"{year}-01-01" for year in years]),
            "test_end": pd.to_datetime([f"{year}-12-31" for year in years]),
            "lookback": [100, 120, 90, 100],
            "weighting": ["equal", "rank", "rank", "equal"],
            "in_sample": [1.4, 1.2, 1.5, 1.3],
            "out_of_sample": [0.6, float("nan"), -0.2, 0.9],
        }
    )


def order_frame(n: int = 30) -> pd.DataFrame:
    times = pd.bdate_range("2018-01-02", periods=n)
    return pd.DataFrame(
        {
            "asset": ["AAA", "BBB"] * (n // 2),
            "decision_time": times,
            "fill_time": times,
            "side": ["buy", "sell"] * (n // 2),
            "size": 10.0,
            "price": 25.0,
            "fee": 0.5,
            "reason": "target",
        }
    )


def trade_frame(n: int = 20) -> pd.DataFrame:
    times = pd.bdate_range("2018-01-02", periods=n)
    return pd.DataFrame(
        {
            "asset": ["AAA", "BBB"] * (n // 2),
            "entry_time": times,
            "exit_time": times + pd.Timedelta(days=5),
            "size": 10.0,
            "entry_price": 25.0,
            "exit_price": 26.0,
            "pnl": [10.0, -4.0] * (n // 2),
        }
    )


def full_page(**changes: object) -> Page:
    values: dict[str, object] = {
        "title": "Momentum, walk-forward",
        "subtitle": "Holds the strongest names.",
        "equity": walk(1300),
        "benchmark": walk(1300, seed=1) / 1e4,
        "exposure": exposure_frame(1300),
        "attribution": pd.DataFrame({"gain": [0.0, 900.0], "fees": [-10.0, -20.0], "impact": 0.0, "interest": 1.5}),
        "contributions": pd.DataFrame(
            {"gain": [800.0, 100.0], "costs": [-25.0, -5.0], "net": [775.0, 95.0], "share": [775 / 870, 95 / 870]},
            index=["<b>AAA</b>", "BBB"],
        ),
        "metrics": {"total_return": 0.5, "sharpe": 0.9, "max_drawdown": -0.2, "n_trades": 20, "calmar": float("nan")},
        "benchmark_metrics": {"total_return": 0.4, "sharpe": 0.8},
        "warnings": ("Orders fill at the close they were decided on.",),
        "facts": {"Data": "bars at version 3", "Seed": "7"},
        "folds": fold_frame(),
        "trials": trial_frame(),
        "parameters": ("lookback", "top", "decay", "weighting", "long_only"),
        "objective": "sharpe",
        "doubts": (
            Doubt(name="Deflated Sharpe", value=0.6, shown="0.60", sentence="May be luck.", level="bad"),
            Doubt(name="Trials", value=60, shown="60", sentence="All are counted.", level="caution"),
            Doubt(name="Overfitting", value=0.1, shown="10 %", sentence="Seldom.", level="good"),
        ),
        "orders": order_frame(),
        "trades": trade_frame(),
    }
    if "equity" in changes:
        del values["exposure"]
    return Page(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def make_page():
    return full_page


@pytest.fixture(scope="session")
def make_full():
    """`make_page` for fixtures that outlive one test."""
    return full_page


@pytest.fixture
def make_walk():
    return walk
