"""From a journal full of trials to a run's result: choose, trade the choice out of sample, and doubt it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from knowable.backtest.result import Result
from knowable.backtest.simulate import simulate
from knowable.data.market import Market
from knowable.experiments.doubt import doubts
from knowable.experiments.engine import TrialEngine
from knowable.experiments.run import Run
from knowable.experiments.spec import RunSpec
from knowable.metrics import METRICS, describe
from knowable.runs.records import TrialRecord
from knowable.strategy import Strategy

__all__ = ["best_record", "settle", "trials_table"]


def settle(
    spec: RunSpec,
    strategy: type[Strategy],
    market: Market,
    records: Sequence[TrialRecord],
    *,
    folder: Path,
    reason: str,
    benchmark: pd.Series | None = None,
) -> Run:
    """Trade the best parameters of each fold over its test, as one account, and gather what a reader must know.

    Args:
        spec: what was asked.
        strategy: the class.
        market: the whole market.
        records: every trial of the run.
        folder: the run's folder.
        reason: why the search ended.
        benchmark: prices or account values to compare with, by time; None for the market's assets bought in equal
            parts and held.
    """
    engine = TrialEngine(strategy, market, spec.account())
    chosen = [best_record(spec, [r for r in records if r.study == spec.study_name(fold)]) for fold in spec.folds]
    result = _trade(spec, engine, chosen)
    against = _benchmark(market, result.equity, benchmark)
    folds = _folds_table(spec, market, result, chosen)
    last = next((record for record in reversed(chosen) if record is not None), None)
    return Run(
        name=folder.name,
        folder=folder,
        spec=spec,
        best={} if last is None else dict(last.params),
        trials=trials_table(spec, strategy, records),
        folds=folds,
        equity=result.equity,
        benchmark=against,
        metrics=result.metrics,
        benchmark_metrics=describe(against.to_numpy(), market.bars_per_year),
        orders=result.orders,
        trades=result.trades,
        doubts=doubts(spec, records, folds, result.equity),
        warnings=(*result.warnings, *_warnings(spec, chosen)),
        reason=reason,
    )


def best_record(spec: RunSpec, records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trial with the best objective, the first of equals; None if none has one."""
    sign = 1.0 if spec.direction == "maximize" else -1.0
    best, height = None, -np.inf
    for record in records:
        value = sign * record.outcome.metrics.get(spec.objective, np.nan)
        if record.outcome.kind == "done" and value > height:
            best, height = record, value
    return best


def trials_table(spec: RunSpec, strategy: type[Strategy], records: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row a trial: study, number, parameters, metrics, source, error."""
    columns: dict[str, list[Any]] = {
        "study": [r.study for r in records],
        "number": [r.number for r in records],
    }
    for name in strategy.parameters:
        columns[name] = [r.params[name] for r in records]
    for name in METRICS:
        columns[name] = [r.outcome.metrics.get(name, np.nan) for r in records]
    columns["source"] = [r.source for r in records]
    columns["error"] = [r.outcome.error for r in records]
    order = {spec.study_name(fold): at for at, fold in enumerate(spec.folds)}
    rank = np.array([(order[r.study], r.number) for r in records], dtype=np.int64).reshape(-1, 2)
    rows = np.lexsort((rank[:, 1], rank[:, 0]))
    return pd.DataFrame(columns).iloc[rows].reset_index(drop=True)


def _trade(spec: RunSpec, engine: TrialEngine, chosen: Sequence[TrialRecord | None]) -> Result:
    """One account over all the rows to be judged, each fold's rows with the weights of its own choice."""
    judged = [fold.test if spec.kind == "walk_forward" else fold.train for fold in spec.folds]
    weights = np.zeros(engine.market.shape)
    decide = np.zeros(engine.market.n_bars, dtype=bool)
    on_change = engine.strategy.rebalance is None
    for (first, stop), record in zip(judged, chosen, strict=True):
        if record is None:
            decide[first] = True
            continue
        weights[first:stop] = engine.weights(record.params, stop)[first:stop]
        decide[first:stop] = engine.rows(engine.strategy(**record.params))[first:stop]
    weights.flags.writeable = False
    return simulate(
        weights,
        decide,
        engine.market,
        engine.settings,
        start=judged[0][0],
        stop=judged[-1][1],
        on_change=on_change,
        name=spec.strategy,
        params={} if chosen[-1] is None else dict(chosen[-1].params),
    )


def _folds_table(spec: RunSpec, market: Market, result: Result, chosen: Sequence[TrialRecord | None]) -> pd.DataFrame:
    offset = spec.folds[0].test[0]
    equity = result.equity.to_numpy()
    rows = []
    for fold, record in zip(spec.folds, chosen, strict=True):
        row: dict[str, Any] = {"fold": fold.number, "train_start": market.index[fold.train[0]]}
        if spec.kind == "walk_forward":
            row |= {"test_start": market.index[fold.test[0]], "test_end": market.index[fold.test[1] - 1]}
        row |= {} if record is None else dict(record.params)
        row["in_sample"] = np.nan if record is None else record.outcome.metrics[spec.objective]
        if spec.kind == "walk_forward":
            first, stop = fold.test[0] - offset, fold.test[1] - offset
            part = equity[max(first - 1, 0) : stop]
            row["out_of_sample"] = describe(part, market.bars_per_year).get(spec.objective, np.nan)
        rows.append(row)
    return pd.DataFrame(rows)


def _benchmark(market: Market, equity: pd.Series, given: pd.Series | None) -> pd.Series:
    start = float(equity.iloc[0])
    if given is not None:
        aligned = _align(given, equity)
        return pd.Series(aligned / aligned.iloc[0] * start, name="benchmark")
    first = market.position(equity.index[0])
    prices = pd.DataFrame(market.final_panel("close")[first : first + len(equity)]).ffill()
    held = prices.loc[:, prices.iloc[0].notna()]
    path = (held / held.iloc[0]).mean(axis=1).to_numpy() * start if held.shape[1] else np.full(len(equity), start)
    return pd.Series(path, index=equity.index, name="benchmark")


def _align(given: pd.Series, equity: pd.Series) -> pd.Series:
    """The last value known by each bar's label."""
    from knowable.errors import DataError

    series = given.dropna().sort_index()
    zones = [getattr(each.index, "tz", None) for each in (series, equity)]
    if zones[0] is None and zones[1] is not None:
        series = series.tz_localize("UTC")
    elif zones[0] is not None and zones[1] is None:
        series = series.tz_convert("UTC").tz_localize(None)
    aligned = series.reindex(series.index.union(equity.index)).ffill().reindex(equity.index)
    if aligned.isna().iloc[0]:
        raise DataError(
            f"`benchmark` has no value by {equity.index[0]}, the first bar judged; the series begins {series.index[0]}."
        )
    found: pd.Series = aligned
    return found


def _warnings(spec: RunSpec, chosen: Sequence[TrialRecord | None]) -> list[str]:
    lost = [fold.number for fold, record in zip(spec.folds, chosen, strict=True) if record is None]
    if not lost:
        return []
    return [f"No trial of fold {', '.join(map(str, lost))} gave a {spec.objective}; the account stayed flat there."]
