"""`load_run` and `resume`: come back to a run, finished or not."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knowable.data.market import Market
from knowable.errors import RunError
from knowable.experiments.code import check_same_code, load_strategy
from knowable.experiments.outcome import load_outcome, read_bounded
from knowable.experiments.run import Run
from knowable.experiments.search import Execution, carry_out, market_folder
from knowable.experiments.spec import RunSpec, engine_versions
from knowable.runs import JOURNAL_NAME, Journal
from knowable.runs.names import check_run_name
from knowable.strategy import Strategy

__all__ = ["load_run", "resume"]


def load_run(path: str | Path) -> Run:
    """Load a finished run from its folder, without its strategy or data.

    Args:
        path: the run's folder, such as ``"runs/20260102T030405Z-Momentum-walk-forward-1a2b"``.

    Raises: RunError if there is no run, it is unfinished, or its files are damaged.
    """
    folder = _folder(path)
    spec, finished, _ = _read(folder)
    if finished is None:
        raise RunError(
            f"{folder.name} is not finished. Its trials so far are kept; go on with kn.resume({str(folder)!r})."
        )
    return load_outcome(folder, spec)


def resume(
    path: str | Path,
    *,
    strategy: type[Strategy] | None = None,
    workers: int = 0,
    cluster: Mapping[str, Any] | str | None = None,
    time_limit: float | None = None,
    progress: bool | None = None,
) -> Run:
    """Go on with an interrupted run; the result equals that of a run never interrupted.

    The strategy is imported again from the file it was defined in, so resume only runs you trust. A finished run is
    loaded and nothing is computed.

    Args:
        path: the run's folder.
        strategy: the class, for a strategy from a notebook; its code must be the same.
        workers: as for `optimize`; it need not be what the run began with.
        cluster: as for `optimize`.
        time_limit: as for `optimize`.
        progress: as for `optimize`.

    Raises: RunError if code, engine or data have changed or are gone; ConflictError if another process drives it.
    """
    folder = _folder(path)
    spec, finished, looked = _read(folder)
    if finished is not None:
        with contextlib.suppress(RunError):  # damaged: it is made again from the trials
            return load_outcome(folder, spec)
    _same_engine(spec, folder)
    if strategy is None:
        strategy = load_strategy(spec.code, where=str(folder))
    else:
        check_same_code(spec.code, strategy, where=folder.name)
    market = Market.load(market_folder(folder, spec))
    kept = folder / "benchmark.parquet"
    benchmark = read_bounded(kept)["benchmark"] if kept.exists() else None
    how = Execution(workers=workers, cluster=cluster, progress=progress, time_limit=time_limit)
    return carry_out(spec, strategy, market, folder, benchmark, how=how, looked=looked)


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    check_run_name(folder.name)
    return folder


def _read(folder: Path) -> tuple[RunSpec, str | None, Mapping[str, Any] | None]:
    """What was asked, why it ended, and what the look for look-ahead saw before it began."""
    with Journal.read(folder / JOURNAL_NAME) as journal:
        header = journal.header
        return RunSpec.from_header(header), journal.finished, header.get("check")


def _same_engine(spec: RunSpec, folder: Path) -> None:
    now = engine_versions()["knowable"]
    if spec.versions["knowable"] != now:
        raise RunError(
            f"{folder.name} was begun with knowable {spec.versions['knowable']}, this is {now}; trials may differ.\n"
            f"Install knowable=={spec.versions['knowable']} to finish it, or start a new run."
        )
