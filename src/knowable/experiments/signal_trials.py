"""Trials of strategies that say when to enter and to leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from knowable.backtest.by_signals import score_signals
from knowable.backtest.signals import SignalPanels, call_signals, signal_panels
from knowable.errors import KnowableError
from knowable.experiments.trial_score import NO_FIGURES, TrialScore
from knowable.features import Feature, Memo, Program

if TYPE_CHECKING:
    from knowable.experiments.engine import TrialEngine

__all__ = ["SignalTrials"]


class SignalTrials:
    """Runs single trials for a `TrialEngine`; may be called from many threads at once.

    `signals` is called for each trial; equal subexpressions are evaluated once for all of them.

    Args:
        engine: whose strategy, market and settings it uses.
        memo: results of expressions, shared by all trials.
    """

    def __init__(self, engine: TrialEngine, memo: Memo) -> None:
        self._engine, self._memo = engine, memo

    def score(self, params: Mapping[str, Any], span: tuple[int, int]) -> TrialScore:
        """Score a complete parameter set on the half-open rows `span`; a failed one carries its error."""
        start, stop = span
        try:
            panels = self.panels(params, stop)
            seen = self._engine.until(stop)
            figures, moments = score_signals(panels, seen, self._engine.settings, start=start, stop=stop)
        except KnowableError as error:
            told = "\n".join([str(error), *getattr(error, "__notes__", [])])
            return TrialScore(figures=NO_FIGURES, error=told)
        return TrialScore(figures=tuple(figures.tolist()), moments=moments)

    def panels(self, params: Mapping[str, Any], stop: int) -> SignalPanels:
        """What a parameter set says, (stop, n_assets).

        Args:
            params: a complete parameter set.
            stop: rows that the strategy's own code may see.
        """
        seen = self._engine.until(stop)
        strategy = self._engine.made(params)
        given = call_signals(strategy, seen).given()
        for name, value in given.items():
            if isinstance(value, Feature) and value.market is seen:
                given[name] = Program.of(value).evaluate(self._engine.market, {}, self._memo)[:stop]
        decide = None if strategy.rebalance is None else self._engine.rows(strategy)[:stop]
        return signal_panels(given, strategy, seen, decide)
