"""`optimize` and `walk_forward`: search for parameters, on one machine or many, so that nothing finished is lost."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from knowable.backtest.result import Result
from knowable.cluster import ProgressBar, drive
from knowable.data.market import Market
from knowable.errors import InputError, RunError
from knowable.experiments.account import Account, account_settings
from knowable.experiments.backtest import check_market, rows_between
from knowable.experiments.benchmark import check_benchmark
from knowable.experiments.engine import check_columns
from knowable.experiments.evaluator import Evaluator
from knowable.experiments.first_look import Check, check_how, look_first, usual_sets
from knowable.experiments.outcome import save_outcome
from knowable.experiments.pinning import pin_sources
from knowable.experiments.run import Run
from knowable.experiments.settle import settle
from knowable.experiments.spec import RunSpec
from knowable.runs import JOURNAL_NAME, Journal, Outcome, new_run
from knowable.search import Optimizer, Space, Study
from knowable.strategy import Strategy, check_strategy_class
from knowable.validate.splits import Fold
from knowable.validate.splits import walk_forward as walk_forward_folds

__all__ = ["Execution", "carry_out", "market_folder", "optimize", "walk_forward"]


def optimize(
    strategy: type[Strategy],
    market: Market,
    *,
    objective: str = "sharpe",
    direction: str | None = None,
    trials: int = 200,
    workers: int = 0,
    seed: int = 0,
    sampler: str = "auto",
    start: object = None,
    end: object = None,
    benchmark: pd.Series | Result | str | None = None,
    runs_dir: str | Path = "runs",
    cluster: Mapping[str, Any] | str | None = None,
    time_limit: float | None = None,
    progress: bool | None = None,
    check: Check = True,
    **account: Unpack[Account],
) -> Run:
    """Search for the parameters with the best metric on a stretch of the past.

    The result is in sample: it says what would have been best, not what will be. `walk_forward` asks that.

    Args:
        strategy: the class.
        market: as for `backtest`.
        objective: metric to improve, such as ``"sharpe"`` or ``"calmar"``.
        direction: ``"maximize"`` or ``"minimize"``; None for the usual one of that metric.
        trials: parameter sets to try.
        workers: Dask worker processes; 0 for this process. The result does not depend on it.
        seed: same seed, same trials.
        sampler: ``"auto"``, ``"gp"``, ``"parzen"``, ``"random"`` or ``"grid"``.
        start: first bar traded, as for `backtest`.
        end: last day traded, as for `backtest`.
        benchmark: what to compare with: prices by time, a result, or the name of an asset; None for the assets in equal
            parts, held.
        runs_dir: where runs are kept; each in a folder of its own.
        cluster: another Dask cluster: an address, or ``{"class": ..., "kwargs": ...}``.
        time_limit: seconds one trial may take before it counts as failed; None for no limit.
        progress: show a progress bar with an ETA; None for when a person watches.
        check: look for look-ahead at the defaults first, for 0.3 s or a twentieth of the time. A leak is refused;
            ``"warn"`` goes on with a warning, False does not look. The run's doubts say what was seen.
        account: as for `backtest`.

    Returns: a `Run`; it can be loaded again with `load_run`, and resumed with `resume` if it was interrupted.

    Raises: InputError, UnknownNameError before any work; LookAheadError if it looks ahead; RunError if every trial
        fails at the start.
    """
    settings = account_settings("kn.optimize", account)
    strategy, market = check_columns(check_strategy_class(strategy)), check_market(market)
    first, stop = rows_between(market, start, end)
    fold = Fold(number=0, train=(first, stop), test=(stop, stop))
    spec = RunSpec.of(
        "optimize",
        strategy,
        market,
        settings,
        objective=objective,
        direction=direction,
        trials=trials,
        seed=seed,
        sampler=sampler,
        folds=(fold,),
    )
    how = Execution(workers=workers, cluster=cluster, progress=progress, time_limit=time_limit)
    return _begin(spec, strategy, market, runs_dir, benchmark, how=how, check=check)


def walk_forward(
    strategy: type[Strategy],
    market: Market,
    *,
    train: str | int = "3y",
    test: str | int = "1y",
    anchored: bool = False,
    purge: int = 0,
    embargo: int = 0,
    objective: str = "sharpe",
    direction: str | None = None,
    trials: int = 100,
    workers: int = 0,
    seed: int = 0,
    sampler: str = "auto",
    start: object = None,
    end: object = None,
    benchmark: pd.Series | Result | str | None = None,
    runs_dir: str | Path = "runs",
    cluster: Mapping[str, Any] | str | None = None,
    time_limit: float | None = None,
    progress: bool | None = None,
    check: Check = True,
    **account: Unpack[Account],
) -> Run:
    """Choose parameters on the past, trade them on the stretch that follows, move on, and join those stretches.

    Args:
        strategy: the class.
        market: as for `backtest`.
        train: length of the past to choose on: ``"3y"``, ``"6mo"``, ``"250b"`` or a number of bars.
        test: length of the stretch to trade, likewise.
        anchored: let the past grow from the first bar instead of rolling.
        purge: bars left out between past and test.
        embargo: further bars left out there.
        objective: as for `optimize`.
        direction: as for `optimize`.
        trials: parameter sets to try in each fold.
        workers: as for `optimize`.
        seed: as for `optimize`.
        sampler: as for `optimize`.
        start: first bar of the first past.
        end: last day of the last test.
        benchmark: as for `optimize`.
        runs_dir: as for `optimize`.
        cluster: as for `optimize`.
        time_limit: as for `optimize`.
        progress: as for `optimize`.
        check: as for `optimize`.
        account: as for `backtest`.

    Returns: a `Run` whose `equity` is out of sample: one account that changes its parameters from fold to fold.

    Raises: InputError, UnknownNameError before any work; LookAheadError if it looks ahead; RunError if every trial
        fails at the start.
    """
    settings = account_settings("kn.walk_forward", account)
    strategy, market = check_columns(check_strategy_class(strategy)), check_market(market)
    first, stop = rows_between(market, start, end)
    cut = walk_forward_folds(market.index[first:stop], train, test, purge, embargo, anchored=anchored)
    folds = tuple(Fold(number=f.number, train=_shift(f.train, first), test=_shift(f.test, first)) for f in cut)
    spec = RunSpec.of(
        "walk_forward",
        strategy,
        market,
        settings,
        objective=objective,
        direction=direction,
        trials=trials,
        seed=seed,
        sampler=sampler,
        folds=folds,
    )
    how = Execution(workers=workers, cluster=cluster, progress=progress, time_limit=time_limit)
    return _begin(spec, strategy, market, runs_dir, benchmark, how=how, check=check)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a run is carried out; its result does not depend on it.

    Attributes:
        workers: Dask worker processes, 0 for this process.
        cluster: another Dask cluster.
        progress: show a progress bar; None for when a person watches.
        time_limit: seconds a trial may take.
    """

    workers: int = 0
    cluster: Mapping[str, Any] | str | None = None
    progress: bool | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 0:
            raise InputError(f"`workers` must be a whole number >= 0, but workers={self.workers!r}; 0 is this process.")
        limit = self.time_limit
        if limit is not None and not (isinstance(limit, int | float) and limit > 0):
            raise InputError(f"`time_limit > 0` seconds must hold, but time_limit={limit!r}.")


def carry_out(
    spec: RunSpec,
    strategy: type[Strategy],
    market: Market,
    folder: Path,
    benchmark: pd.Series | None,
    *,
    how: Execution,
    looked: Mapping[str, Any] | None,
) -> Run:
    """Run what is missing of a run whose folder and journal exist, and settle it; `looked` is what `look_first` gave.

    Raises: RunError if every trial raised.
    """
    evaluator = Evaluator(strategy, market_folder(folder, spec), spec.account(), spec.spans(), market=market)
    studies = {name: _study(spec, strategy, name) for name in spec.spans()}
    unpinned = pin_sources(market, folder)
    with Journal.open(folder / JOURNAL_NAME) as journal, ProgressBar(spec.strategy, shown=how.progress) as show:
        drive(
            studies,
            evaluate=evaluator,
            key=spec.key,
            value=_value(spec.objective),
            journal=journal,
            workers=how.workers,
            progress=show,
            cluster=how.cluster,
            time_limit=how.time_limit,
        )
        reasons = {study.reason for study in studies.values() if study.reason is not None}
        reason = " ".join(sorted(r.value for r in reasons))
        records = journal.trials()
        failed = [record.outcome.error for record in records if record.outcome.kind == "failed"]
        if len(failed) == len(records):
            raise RunError(f"All {len(records)} trials failed, so there is no result. The first error:\n{failed[0]}")
        remarks = [f"{len(failed)} of {len(records)} trials failed. The first: {_first(failed)}"] if failed else []
        remarks += [str(conflict) for conflict in journal.conflicts()[:1]]
        remarks += unpinned
        run = settle(
            spec,
            strategy,
            market,
            records,
            folder=folder,
            reason=reason,
            remarks=remarks,
            benchmark=benchmark,
            looked=looked,
        )
        save_outcome(run)
        journal.finish(reason)
    return run


def _first(errors: Sequence[str | None]) -> str:
    return str(errors[0]).splitlines()[0]


def market_folder(folder: Path, spec: RunSpec) -> Path:
    """Where a run's market is kept: beside the runs, once for all that use it."""
    return folder.parent / "markets" / str(spec.market["fingerprint"])[:32]


def _begin(
    spec: RunSpec,
    strategy: type[Strategy],
    market: Market,
    runs_dir: str | Path,
    benchmark: pd.Series | Result | str | None,
    *,
    how: Execution,
    check: Check,
) -> Run:
    check = check_how(check)
    for study in spec.spans():
        _study(spec, strategy, study)  # a wrong sampler or space is said before a folder is made
    against = None if benchmark is None else check_benchmark(benchmark, market, spec)
    looked = look_first(
        strategy,
        market.until(max(stop for fold in spec.folds for stop in (fold.train[1], fold.test[1]))),
        usual_sets(strategy),
        spec.account(),
        check=check,
        n_trials=spec.n_trials * len(spec.folds),
        seed=spec.seed,
        time_limit=how.time_limit,
    )
    name = re.sub(r"[^A-Za-z0-9]+", "-", spec.strategy).strip("-") or "strategy"
    folder = new_run(runs_dir, f"{name[:60]}-{spec.kind.replace('_', '-')}")
    market.save(market_folder(folder, spec))
    if against is not None:
        against.rename("benchmark").to_frame().to_parquet(folder / "benchmark.parquet")
    Journal.create(folder / JOURNAL_NAME, {**spec.header(), "check": looked}).close()
    return carry_out(spec, strategy, market, folder, against, how=how, looked=looked)


def _study(spec: RunSpec, strategy: type[Strategy], name: str) -> Study:
    """A study whose every step follows from the spec: the number of workers is not in it."""
    seed = int.from_bytes(hashlib.sha256(f"{spec.seed}/{name}".encode()).digest()[:6], "big")
    optimizer = Optimizer(
        Space(strategy.parameters),
        seed=seed,
        direction="minimize" if spec.direction == "minimize" else "maximize",
        sampler=spec.sampler,
    )
    # One study alone asks a group ahead so that workers never wait; several fill each other's pauses.
    return Study(optimizer, n_trials=spec.n_trials, lag=1 if len(spec.folds) == 1 else 0)


def _value(objective: str) -> Callable[[Outcome], float | None]:
    return lambda outcome: outcome.metrics.get(objective)


def _shift(rows: tuple[int, int], by: int) -> tuple[int, int]:
    return rows[0] + by, rows[1] + by
