"""The doubt a run carries: how far its result may be luck, each as a figure, a sentence and a level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from knowable.errors import KnowableError
from knowable.experiments.spec import RunSpec
from knowable.report.page import Doubt, Level
from knowable.runs.records import TrialRecord
from knowable.validate.overfitting import Track, deflated_sharpe, min_track_record, pbo_from_moments
from knowable.validate.trials import effective_trials_from_moments, sharpes_from_moments

__all__ = ["doubts", "study_moments"]

_AROUND_ZERO = frozenset({"total_return", "annual_return", "sharpe", "sortino", "calmar"})


def doubts(spec: RunSpec, records: Sequence[TrialRecord], folds: pd.DataFrame, returns: pd.Series) -> tuple[Doubt, ...]:
    """Gather what a reader must weigh before believing the run.

    Args:
        spec: what was asked.
        records: every trial, failed ones too.
        folds: a row a fold.
        returns: a bar, of the judged account.
    """
    return (
        *([_decay(spec, folds)] if spec.kind == "walk_forward" else [_unseen(spec)]),
        _deflated(spec, records, returns),
        _overfitting(spec, records),
        _length(spec, returns),
    )


def study_moments(records: Sequence[TrialRecord], study: str) -> np.ndarray:
    """Block moments of a study's trials that have a Sharpe ratio, (n_trials, n_blocks, 3)."""
    own = [r.outcome for r in records if r.study == study and r.outcome.kind == "done"]
    done = [o.moments for o in own if math.isfinite(o.metrics.get("sharpe", math.nan))]  # not the ruined and the idle
    rows = [np.frombuffer(raw, "<f8").reshape(-1, 3) for raw in done if raw is not None]
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else 0, 3)


def _decay(spec: RunSpec, folds: pd.DataFrame) -> Doubt:
    name = "In sample against out of sample"
    both = folds[["in_sample", "out_of_sample"]].astype(float).dropna()
    if both.empty:
        return _not_known(name, KnowableError(f"no fold has a {spec.objective} both in sample and out of sample."))
    before, after = float(both["in_sample"].mean()), float(both["out_of_sample"].mean())
    lost = before - after if spec.direction == "maximize" else after - before
    level: Level = "good" if lost <= 0.4 * abs(before) else "caution" if lost <= 0.7 * abs(before) else "bad"
    left_out = f"; {len(folds) - len(both)} of {len(folds)} folds have none" if len(both) < len(folds) else ""
    held = f"; {int((both['out_of_sample'] > 0).sum())} of {len(both)} folds stayed above 0"
    return Doubt(
        name=name,
        value=after,
        shown=f"{before:.2f} became {after:.2f}",
        sentence=(
            f"Mean {spec.objective} of the choices, on the past they were made on and on what followed"
            f"{held if spec.objective in _AROUND_ZERO else ''}{left_out}."
        ),
        level=level,
    )


def _unseen(spec: RunSpec) -> Doubt:
    return Doubt(
        name="Out of sample",
        value=math.nan,
        shown="none",
        sentence=(
            f"The equity shown is of the very bars on which {spec.n_trials} parameter sets were compared; "
            "walk_forward judges on bars that search has not seen."
        ),
        level="bad",
    )


def _deflated(spec: RunSpec, records: Sequence[TrialRecord], returns: pd.Series) -> Doubt:
    name, n_trials = "Deflated Sharpe ratio", len(records)
    try:
        spreads, n_effective = _spread_of_trials(spec, records)
        track = Track.from_returns(returns.to_numpy())
        value = deflated_sharpe(track, n_trials, spreads)
        lenient = deflated_sharpe(track, n_effective, spreads)
    except KnowableError as error:
        return _not_known(name, error)
    level: Level = "good" if value >= 0.95 else "caution" if value >= 0.5 else "bad"
    return Doubt(
        name=name,
        value=value,
        shown=f"{value:.1%}",
        sentence=(
            f"Chance that this Sharpe ratio beats what luck gives the best of all {n_trials} trials, failed ones "
            f"counted; below 95% it may be luck. Counting only the about {n_effective:.0f} that differ: {lenient:.1%}."
        ),
        level=level,
    )


def _spread_of_trials(spec: RunSpec, records: Sequence[TrialRecord]) -> tuple[float, float]:
    """Mean over the studies of the variance of their trials' Sharpe ratios a bar, and how many trials really differ."""
    spreads, n_effective = [], 0.0
    for study in spec.spans():
        moments = study_moments(records, study)
        sharpes = sharpes_from_moments(moments) if len(moments) > 1 else np.empty(0)
        sharpes = sharpes[np.isfinite(sharpes)]
        if sharpes.size > 1:
            spreads.append(float(sharpes.var(ddof=1)))
            n_effective += effective_trials_from_moments(moments)
    return float(np.mean(spreads)) if spreads else 0.0, max(n_effective, 1.0)


def _length(spec: RunSpec, returns: pd.Series) -> Doubt:
    name, a_year = "Minimum track record", float(spec.market["bars_per_year"])
    try:
        needed = min_track_record(Track.from_returns(returns.to_numpy())) / a_year
    except KnowableError as error:
        return _not_known(name, error)
    have = len(returns) / a_year
    shown = f"{needed:.1f} years" if math.isfinite(needed) else "never"
    level: Level = "good" if needed <= have else "caution" if needed <= 2 * have else "bad"
    return Doubt(
        name=name,
        value=needed,
        shown=shown,
        sentence=(
            f"What such a Sharpe ratio needs to differ from 0 at 95%, were it the only one tried; there are {have:.1f}."
        ),
        level=level,
    )


def _overfitting(spec: RunSpec, records: Sequence[TrialRecord]) -> Doubt:
    name = "Probability of overfitting"
    found: list[float] = []
    for study in spec.spans():
        try:
            found.append(float(pbo_from_moments(study_moments(records, study), constant="drop")))
        except KnowableError as error:
            if len(spec.folds) == 1:
                return _not_known(name, error)
    if not found:
        return _not_known(name, KnowableError("no fold has two trials that vary."))
    value = float(np.mean(found))
    level: Level = "good" if value <= 0.1 else "caution" if value < 0.5 else "bad"
    where = f" (mean of {len(found)} folds, worst {max(found):.0%})" if len(found) > 1 else ""
    return Doubt(
        name=name,
        value=value,
        shown=f"{value:.0%}",
        sentence=(
            f"How often the best trial on one half of the past lands in the lower half on the other{where}; "
            "noise gives 50%."
        ),
        level=level,
    )


def _not_known(name: str, error: KnowableError) -> Doubt:
    first = str(error).splitlines()[0]
    return Doubt(name=name, value=math.nan, shown="not known", sentence=f"It cannot be computed: {first}", level="bad")
