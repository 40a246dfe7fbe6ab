"""From a journal full of trials to a run's result: choose, trade the choice out of sample, and doubt it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.by_signals import simulate_signals
from knowable.backtest.events.run import EventRun
from knowable.backtest.result import Result
from knowable.backtest.signals import SignalPanels
from knowable.backtest.simulate import result_of, simulate
from knowable.data.market import Market
from knowable.experiments.benchmark import benchmark_path
from knowable.experiments.doubt import doubts
from knowable.experiments.engine import TrialEngine
from knowable.experiments.event_trials import EventTrials
from knowable.experiments.first_look import look_again, look_doubts
from knowable.experiments.run import Run
from knowable.experiments.signal_trials import SignalTrials
from knowable.experiments.spec import RunSpec
from knowable.metrics import METRICS, describe
from knowable.runs.records import TrialRecord
from knowable.strategy import Strategy

__all__ = ["best_record", "settle", "trials_table"]

Panel: TypeAlias = npt.NDArray[np.float64]


def settle(
    spec: RunSpec,
    strategy: type[Strategy],
    market: Market,
    records: Sequence[TrialRecord],
    *,
    folder: Path,
    reason: str,
    remarks: Sequence[str] = (),
    benchmark: pd.Series | None = None,
    looked: Mapping[str, Any] | None = None,
) -> Run:
    """Trade the best parameters of each fold over its test, as one account, and gather what a reader must know.

    Args:
        spec: what was asked.
        strategy: the class.
        market: the whole market.
        records: every trial of the run.
        folder: the run's folder.
        reason: why the search ended.
        remarks: sentences about the trials that the result must carry.
        benchmark: prices or account values to compare with, by time; None for the market's assets bought in equal
            parts and held.
        looked: what the look for look-ahead saw before the search.
    """
    engine = TrialEngine(strategy, market, spec.account())
    chosen = [best_record(spec, [r for r in records if r.study == spec.study_name(fold)]) for fold in spec.folds]
    result = _trade(spec, engine, chosen)
    names = tuple(strategy.parameters)
    against = benchmark_path(market, result.index, engine.settings.cash, benchmark)
    folds = _folds_table(spec, engine, chosen, names)
    last = next((record for record in reversed(chosen) if record is not None), None)
    if last is not None:
        looked = look_again(looked, strategy, market.until(_judged(spec)[-1][1]), last.params, engine.settings)
    return Run(
        name=folder.name,
        folder=folder,
        spec=spec,
        best={} if last is None else dict(last.params),
        parameters=names,
        trials=trials_table(spec, strategy, records),
        folds=folds,
        equity=result.equity,
        benchmark=against,
        metrics=result.metrics,
        benchmark_metrics=describe(against.to_numpy(), market.bars_per_year, initial=engine.settings.cash),
        orders=result.orders,
        trades=result.trades,
        doubts=(*look_doubts(looked), *doubts(spec, records, folds, result.returns)),
        warnings=(*result.warnings, *remarks, *_warnings(spec, chosen)),
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
    if engine.events is not None:
        return _trade_bar_by_bar(spec, engine, engine.events, chosen)
    if engine.signals is not None:
        return _trade_signals(spec, engine, engine.signals, chosen)
    judged = _judged(spec)
    weights = np.zeros(engine.market.shape)
    decide = np.zeros(engine.market.n_bars, dtype=bool)
    last = np.full(engine.market.n_assets, np.nan)
    for number, ((first, stop), record) in enumerate(zip(judged, chosen, strict=True)):
        scheduled = None
        if record is not None:
            strategy = engine.made(record.params)
            weights[first:stop] = engine.weights(record.params, stop)[first:stop]
            scheduled = None if strategy.rebalance is None else engine.rows(strategy)[first:stop]
        part = weights[first:stop]
        decide[first:stop] = _changes(part, last, began=number > 0) if scheduled is None else scheduled
        last = part[-1].copy()
    weights.flags.writeable = False
    return simulate(
        weights,
        decide,
        engine.market,
        engine.settings,
        start=judged[0][0],
        stop=judged[-1][1],
        name=spec.strategy,
        params={} if chosen[-1] is None else dict(chosen[-1].params),
    )


def _judged(spec: RunSpec) -> list[tuple[int, int]]:
    return [fold.test if spec.kind == "walk_forward" else fold.train for fold in spec.folds]


def _trade_signals(
    spec: RunSpec, engine: TrialEngine, trials: SignalTrials, chosen: Sequence[TrialRecord | None]
) -> Result:
    """One account over all the rows to be judged, each fold's signals those of its own choice."""
    judged = _judged(spec)
    start, end = judged[0][0], judged[-1][1]
    market, n_assets = engine.until(end), engine.market.n_assets
    parts, done = [], 0
    for (first, stop), record in zip(judged, chosen, strict=True):
        parts.append(SignalPanels.silent(first - done, n_assets))
        if record is None:
            parts.append(SignalPanels.leaving(stop - first, n_assets))
        else:
            parts.append(trials.panels(record.params, stop).rows(first, stop))
        done = stop
    return simulate_signals(
        SignalPanels.joined(parts),
        market,
        engine.settings,
        start=start,
        stop=end,
        name=spec.strategy,
        params={} if chosen[-1] is None else dict(chosen[-1].params),
    )


def _trade_bar_by_bar(
    spec: RunSpec, engine: TrialEngine, trials: EventTrials, chosen: Sequence[TrialRecord | None]
) -> Result:
    """One account over all the rows to be judged, each fold's bars decided on by its own choice."""
    judged = _judged(spec)
    start, end = judged[0][0], judged[-1][1]
    market = engine.until(end)
    run = EventRun(market, engine.settings, start, end)
    done = start
    for (first, stop), record in zip(judged, chosen, strict=True):
        run.wait(done, first)
        if record is None:
            run.stay_flat(first, stop)
        else:
            own, features = trials.prepared(record.params, stop)
            run.trade(own, features, engine.rows(own)[:stop], first, stop)
        done = stop
    return result_of(
        run.record(),
        market,
        engine.settings,
        start=start,
        stop=end,
        name=spec.strategy,
        params={} if chosen[-1] is None else dict(chosen[-1].params),
    )


def _changes(weights: Panel, before: Panel, *, began: bool) -> npt.NDArray[np.bool_]:
    """Rows that differ from the row before, as a strategy without a schedule acts on; folds may differ in schedule."""
    shifted = np.vstack([before[None], weights[:-1]])
    differs: npt.NDArray[np.bool_] = (~((weights == shifted) | (np.isnan(weights) & np.isnan(shifted)))).any(axis=1)
    if not began:
        differs[0] = True
    return differs


def _folds_table(
    spec: RunSpec, engine: TrialEngine, chosen: Sequence[TrialRecord | None], names: Sequence[str]
) -> pd.DataFrame:
    """A row a fold. Out of sample each choice is scored as in sample: by an account of its own, from its first bar."""
    index = engine.market.index
    rows = []
    for fold, record in zip(spec.folds, chosen, strict=True):
        row: dict[str, Any] = {"fold": fold.number, "train_start": index[fold.train[0]]}
        if spec.kind == "walk_forward":
            row |= {"test_start": index[fold.test[0]], "test_end": index[fold.test[1] - 1]}
        row |= {name: None if record is None else record.params[name] for name in names}
        row["in_sample"] = np.nan if record is None else record.outcome.metrics[spec.objective]
        if spec.kind == "walk_forward":
            found = None if record is None else engine.score([record.params], fold.test)[0]
            row["out_of_sample"] = np.nan if found is None else found.metrics[spec.objective]
        rows.append(row)
    return pd.DataFrame(rows)


def _warnings(spec: RunSpec, chosen: Sequence[TrialRecord | None]) -> list[str]:
    lost = [fold.number for fold, record in zip(spec.folds, chosen, strict=True) if record is None]
    if not lost:
        return []
    return [f"No trial of fold {', '.join(map(str, lost))} gave a {spec.objective}; the account stayed flat there."]
