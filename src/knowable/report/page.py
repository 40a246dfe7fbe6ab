"""What a report shows: plain values, checked once when the page is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.errors import InputError, ShapeError, shown, unknown_name

__all__ = ["Doubt", "Level", "Page"]

Level = Literal["good", "caution", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One test of luck: its figure, a sentence and how much to worry.

    Attributes:
        name: what was tested, such as ``"Deflated Sharpe"``.
        value: the figure itself; NaN where it could not be computed.
        shown: the figure as a reader sees it, such as ``"0.62"`` or ``"38 %"``.
        sentence: what the figure says about this result, in one sentence.
        level: ``"good"``, ``"caution"`` or ``"bad"``.
    """

    name: str
    value: float
    shown: str
    sentence: str
    level: Level

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise InputError(f"`level` must be one of {', '.join(get_args(Level))}, but level={shown(self.level)}.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """Everything one report shows. What is None or empty has no section.

    Attributes:
        title: first line of the page.
        subtitle: a sentence under it: what was run, over which span.
        equity: account value at each bar end; a DatetimeIndex, strictly increasing, at least one row. NaN rows are
            gaps; no value may be infinite.
        initial: account value before the first bar; None: its first value is the start of the first month.
        days: (n_bars,) datetime64[D], the day that each bar belongs to; None: that of its label.
        benchmark: account value or price of what to compare with, on the very index of `equity`; drawn from the
            same start value.
        exposure: (n_bars, ...) with columns `gross` and `net`, fractions of equity, on the index of `equity`.
        attribution: (n_bars, n_kinds) money that each kind of gain and cost brought on each bar; its totals are shown.
        contributions: a row an asset, columns `gain`, `costs`, `net`, `share`; the largest are shown.
        metrics: name to value; NaN where not defined.
        benchmark_metrics: the same for the benchmark.
        warnings: sentences shown in plain sight.
        facts: what is needed to make this result again: data pins, settings, code fingerprint, versions.
        folds: a row a fold, in time order. Columns `in_sample` and `out_of_sample` (the objective in each) are drawn,
            and so is each column named in `parameters`; `fold` names it, `test_start` (a time) marks it in the chart.
        trials: a row a trial. A trial whose `objective` is NaN counts as failed.
        parameters: columns of `trials` (and of `folds`, where there) that are parameters.
        objective: column of `trials` that was optimized.
        maximize: whether more of the objective is better.
        doubts: the verdict panel.
        orders: as `Result.orders`.
        trades: as `Result.trades`.

    Raises:
        ShapeError: an index that is not a DatetimeIndex, is empty, unsorted, or differs between equity and benchmark.
        UnknownNameError: a parameter or objective that is no column of `trials`.
        InputError: anything else of a wrong kind.
    """

    title: str
    subtitle: str = ""
    equity: pd.Series
    initial: float | None = None
    days: npt.NDArray[np.datetime64] | None = None
    benchmark: pd.Series | None = None
    exposure: pd.DataFrame | None = None
    attribution: pd.DataFrame | None = None
    contributions: pd.DataFrame | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    benchmark_metrics: Mapping[str, float] | None = None
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    folds: pd.DataFrame | None = None
    trials: pd.DataFrame | None = None
    parameters: tuple[str, ...] = ()
    objective: str | None = None
    maximize: bool = True
    doubts: tuple[Doubt, ...] = ()
    orders: pd.DataFrame | None = None
    trades: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        _check_series("equity", self.equity)
        if self.days is not None and self.days.shape != self.equity.shape:
            raise ShapeError(
                f"`days` has shape {self.days.shape}; it needs a day for each of {self.equity.shape} rows."
            )
        if self.benchmark is not None:
            _check_series("benchmark", self.benchmark)
            _check_same_index(self.equity, self.benchmark)
        for name in ("folds", "trials", "orders", "trades", "exposure", "attribution", "contributions"):
            table = getattr(self, name)
            if table is not None and not isinstance(table, pd.DataFrame):
                raise InputError(f"`{name}` must be a DataFrame or None, but a {type(table).__name__} came.")
        if self.exposure is not None and not self.exposure.index.equals(self.equity.index):
            raise ShapeError("`exposure` must be on the index of `equity`.")
        for name in ("metrics", "benchmark_metrics"):
            _check_metrics(name, getattr(self, name))
        if isinstance(self.warnings, str):
            raise InputError("`warnings` must be a tuple of sentences, but one str came; write (text,).")
        if self.trials is not None:
            known = [str(column) for column in self.trials.columns]
            for name in (*self.parameters, *([self.objective] if self.objective is not None else [])):
                if name not in self.trials.columns:
                    raise unknown_name("column", name, known, where="`trials`")


def _check_series(name: str, series: object) -> None:
    if not isinstance(series, pd.Series):
        raise InputError(f"`{name}` must be a pandas Series, but a {type(series).__name__} came.")
    index = series.index
    if not isinstance(index, pd.DatetimeIndex):
        raise ShapeError(f"`{name}` needs a DatetimeIndex, but its index is a {type(index).__name__}.")
    if len(index) == 0:
        raise ShapeError(f"`{name}` has no rows; a report needs at least one bar.")
    if index.hasnans or not (index.is_monotonic_increasing and index.is_unique):
        raise ShapeError(f"The index of `{name}` must be strictly increasing; sort it and drop repeated times.")
    if series.dtype.kind not in "iuf":
        raise InputError(f"`{name}` must hold numbers, but its dtype is {series.dtype}.")
    if np.isinf(series.to_numpy(dtype=np.float64, na_value=np.nan)).any():
        raise InputError(f"`{name}` holds an infinite value; use NaN where there is none.")


def _check_same_index(equity: pd.Series, benchmark: pd.Series) -> None:
    if len(equity) != len(benchmark):
        raise ShapeError(
            f"`benchmark` has {len(benchmark)} rows; it needs the {len(equity)} rows of `equity`. "
            "Align it first, such as benchmark.reindex(equity.index)."
        )
    if not equity.index.equals(benchmark.index):
        row = int(np.argmax(np.asarray(equity.index != benchmark.index)))
        raise ShapeError(
            f"`benchmark` and `equity` must share one index; they first differ in row {row}: "
            f"{benchmark.index[row]} against {equity.index[row]}. Align it first, such as "
            "benchmark.reindex(equity.index)."
        )


def _check_metrics(name: str, metrics: object) -> None:
    if metrics is None and name == "benchmark_metrics":
        return
    if not isinstance(metrics, Mapping):
        raise InputError(f"`{name}` must map names to numbers, but a {type(metrics).__name__} came.")
    for key, value in metrics.items():
        try:
            math.isnan(float(value))
        except (TypeError, ValueError):
            raise InputError(f"`{name}[{shown(key)}]` must be a number, but {shown(value)} came.") from None
