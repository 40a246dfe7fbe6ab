"""`sweep`: many parameter sets in this process, a row each; metrics come back, not a thousand equity curves."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.errors import InputError, ParameterError, shown, unknown_name
from knowable.experiments.account import Account, account_settings
from knowable.experiments.backtest import check_market, rows_between
from knowable.experiments.engine import SMALL_PANEL, TrialEngine, check_columns
from knowable.experiments.first_look import Check, check_how, look_first, spread_sets
from knowable.metrics import METRICS
from knowable.search.checks import checked_whole
from knowable.strategy import Strategy, check_strategy_class, gives_signals, is_event_driven

__all__ = ["sweep"]

_FEW_THREADS, _TINY_PANEL = 4, 2_000


def sweep(
    strategy: type[Strategy],
    market: Market,
    *,
    grid: Mapping[str, Iterable[Any]] | None = None,
    trials: Iterable[Mapping[str, Any]] | None = None,
    start: object = None,
    end: object = None,
    threads: int | None = None,
    max_trials: int = 1_000_000,
    progress: bool | None = None,
    check: Check = True,
    **account: Unpack[Account],
) -> pd.DataFrame:
    """Backtest every parameter set of a grid or a list.

    What parameter sets have in common is computed once. A trial whose strategy raises has its `error`, and the rest
    go on.

    Args:
        strategy: the class.
        market: as for `backtest`.
        grid: parameter -> values; every combination is tried. The others keep their defaults.
        trials: instead of a grid, the parameter sets themselves.
        start: as for `backtest`.
        end: as for `backtest`.
        threads: how many run at once; None for all cores, on small panels fewer. The result does not depend on it.
        max_trials: refuse larger grids than this; raise it to say that you mean it.
        progress: show a progress bar with an ETA; None for when it takes long and a person watches.
        check: look for look-ahead in a few of the parameter sets first, for 0.3 s or a twentieth of the time. A leak is
            refused; ``"warn"`` goes on with a warning, False does not look.
        account: as for `backtest`.

    Returns: DataFrame, a row a trial in the order given: its parameters, its metrics, and `error` (text or None). What
        the look saw is in ``.attrs["check"]``.

    Raises: InputError, ParameterError, UnknownNameError before any work is done; LookAheadError if it looks ahead.
    """
    check = check_how(check)
    settings = account_settings("kn.sweep", account)
    strategy = check_columns(check_strategy_class(strategy))
    market = check_market(market)
    span = rows_between(market, start, end)
    n_threads = _threads_for(strategy, market) if threads is None else checked_whole("threads", threads, 1, "kn.sweep")
    wanted = _parameter_sets(strategy, grid, trials, max_trials)
    looked = look_first(
        strategy, market.until(span[1]), spread_sets(wanted), settings, check=check, n_trials=len(wanted)
    )
    engine = TrialEngine(strategy, market, settings)
    figures, errors = _score_all(engine, wanted, span, n_threads, progress)
    table = _table(strategy, wanted, figures, errors)
    table.attrs["check"] = looked
    return table


def _threads_for(strategy: type[Strategy], market: Market) -> int:
    """All cores where compiled code takes the time. On small panels Python takes a quarter of it or more, one thread at
    a time: a few score weights beside one that evaluates. Signals and `on_bar`, whose trials run one by one, are done
    sooner by one alone (1,000 of 1,000 bars: 130 ms, by two 260), and so is what is tiny. An `on_bar` that is not
    compiled never lets two threads run.
    """
    event_driven, n_cells, cores = is_event_driven(strategy), market.n_bars * market.n_assets, os.cpu_count() or 1
    if event_driven and not strategy.compiled:
        return 1
    if n_cells >= SMALL_PANEL:
        return cores
    return 1 if event_driven or gives_signals(strategy) or n_cells < _TINY_PANEL else min(cores, _FEW_THREADS)


def _parameter_sets(
    strategy: type[Strategy],
    grid: Mapping[str, Iterable[Any]] | None,
    trials: Iterable[Mapping[str, Any]] | None,
    max_trials: int,
) -> list[dict[str, Any]]:
    if (grid is None) == (trials is None):
        raise InputError("Give either `grid` or `trials`, such as grid={'lookback': range(20, 253)}.")
    if grid is not None:
        chosen = _grid_trials(strategy, grid, max_trials)
    else:
        chosen = list(trials or ())
        for number, params in enumerate(chosen):
            if not isinstance(params, Mapping):
                raise InputError(
                    f"Each of `trials` is a mapping name -> value, but number {number} is {shown(params)}."
                )
    if not chosen:
        raise InputError("There are no parameter sets to try: `grid` or `trials` is empty.")
    declared = strategy.parameters
    usual = {name: param.default for name, param in declared.items()}
    owner = strategy.__name__
    complete = []
    for params in chosen:
        for name in params:
            if name not in declared:
                raise unknown_name("parameter", name, declared, where=owner)
        complete.append({**usual, **{name: declared[name].check(value, name, owner) for name, value in params.items()}})
    return complete


def _grid_trials(
    strategy: type[Strategy], grid: Mapping[str, Iterable[Any]], max_trials: int
) -> list[Mapping[str, Any]]:
    axes: dict[str, Sequence[Any]] = {}
    for name, values in grid.items():
        if name not in strategy.parameters:
            raise unknown_name("parameter", name, strategy.parameters, where=strategy.__name__)
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ParameterError(f"grid[{name!r}] must be a list of values, but it is {shown(values)}.")
        axes[name] = values if isinstance(values, range) else list(values)
    size = math.prod(len(values) for values in axes.values())
    if size > max_trials:
        shape = " x ".join(f"{len(values):,} {name}" for name, values in axes.items())
        raise InputError(
            f"The grid has {size:,} parameter sets ({shape}), more than max_trials={max_trials:,}.\n"
            f"Thin it, search it with kn.optimize, or say max_trials={size} if you mean it."
        )
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def _score_all(
    engine: TrialEngine, wanted: Sequence[dict[str, Any]], span: tuple[int, int], threads: int, progress: bool | None
) -> tuple[npt.NDArray[np.float64], list[str | None]]:
    """(n_trials, n_metrics) figures and (n_trials,) errors; what else a score holds is let go of."""
    from tqdm.auto import tqdm

    size = max(1, min(engine.batch_size, math.ceil(len(wanted) / threads)))
    batches = [slice(at, at + size) for at in range(0, len(wanted), size)]
    figures = np.empty((len(wanted), len(METRICS)))
    errors: list[str | None] = []

    def score(batch: slice) -> list[str | None]:
        scores = engine.score(wanted[batch], span)
        figures[batch] = [each.figures for each in scores]
        return [each.error for each in scores]

    with (
        tqdm(total=len(wanted), unit="trial", delay=2, disable=None if progress is None else not progress) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        for done in pool.map(score, batches):
            errors += done
            bar.update(len(done))
    return figures, errors


def _table(
    strategy: type[Strategy],
    wanted: list[dict[str, Any]],
    figures: npt.NDArray[np.float64],
    errors: list[str | None],
) -> pd.DataFrame:
    columns: dict[str, Any] = {name: [params[name] for params in wanted] for name in strategy.parameters}
    columns |= {name: figures[:, at].copy() for at, name in enumerate(METRICS)}
    return pd.DataFrame(columns).assign(error=pd.Series(errors, dtype=object))
