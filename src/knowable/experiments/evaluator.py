"""What a worker does with a batch of trials: map the market once, then score."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from knowable.backtest.settings import Settings
from knowable.data.market import Market
from knowable.experiments.engine import TrialEngine
from knowable.experiments.trial_score import TrialScore
from knowable.runs.records import Outcome
from knowable.strategy import Strategy

__all__ = ["Evaluator"]


class Evaluator:
    """Callable that a worker keeps: it maps the saved market when first asked and remembers shared subexpressions.

    Args:
        strategy: the class; it travels to the workers as it is, also from a notebook.
        market_folder: where the market was saved; every worker of a machine maps the same pages.
        settings: the account.
        spans: study name -> half-open rows its trials are scored on.
        market: the market itself where the caller has it in this process already; it never travels.
    """

    def __init__(
        self,
        strategy: type[Strategy],
        market_folder: Path,
        settings: Settings,
        spans: Mapping[str, tuple[int, int]],
        *,
        market: Market | None = None,
    ) -> None:
        self.strategy, self.market_folder, self.settings, self.spans = strategy, market_folder, settings, dict(spans)
        self._engine = None if market is None else TrialEngine(strategy, market, settings)

    @property
    def engine(self) -> TrialEngine:
        """The engine of this process, made when first asked."""
        if self._engine is None:
            self._engine = TrialEngine(self.strategy, Market.load(self.market_folder), self.settings)
        return self._engine

    def __call__(self, study: str, trials: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        """Score parameter sets of one study, in order."""
        began = time.perf_counter()
        scores = self.engine.score(trials, self.spans[study])
        seconds = (time.perf_counter() - began) / max(len(trials), 1)
        return [_outcome(score, seconds) for score in scores]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}


def _outcome(score: TrialScore, seconds: float) -> Outcome:
    worker = f"pid {os.getpid()}"
    if score.error is not None:
        return Outcome.failed(score.error, seconds=seconds, worker=worker)
    moments = None if score.moments is None else score.moments.astype("<f8").tobytes()
    return Outcome(metrics=score.metrics, moments=moments, seconds=seconds, worker=worker)
