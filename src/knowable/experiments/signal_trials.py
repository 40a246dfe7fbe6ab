"""Trials of strategies that say when to enter and to leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from knowable.backtest.by_signals import SignalScorer
from knowable.backtest.signals import NUMBERS, SignalPanels, call_signals, signal_panels
from knowable.data.market import Market
from knowable.errors import KnowableError
from knowable.experiments.symbolic import Shared, shared_formulas
from knowable.experiments.trial_score import NO_FIGURES, TrialScore
from knowable.features import Feature, Formula, Memo, Program
from knowable.params import Choice

if TYPE_CHECKING:
    from knowable.experiments.engine import TrialEngine

__all__ = ["SignalTrials"]


class SignalTrials:
    """Runs single trials for a `TrialEngine`; may be called from many threads at once.

    `signals` that builds expressions without looking at the values of parameters is asked once, as `weights` is; its
    sizes and levels may be parameters, or computed from them. Equal subexpressions are evaluated once for all trials.

    Args:
        engine: whose strategy, market and settings it uses.
        memo: results of expressions, shared by all trials.
    """

    def __init__(self, engine: TrialEngine, memo: Memo) -> None:
        self._engine, self._memo = engine, memo
        self._formulas: dict[tuple[Any, ...], Shared | None] = {}
        self._scorers: dict[tuple[int, int], SignalScorer] = {}
        parameters = engine.strategy.parameters
        self._choices = tuple(name for name, p in parameters.items() if isinstance(p, Choice))
        self._n_numbers = len(parameters) - len(self._choices)

    def score(self, params: Mapping[str, Any], span: tuple[int, int]) -> TrialScore:
        """Score a complete parameter set on the half-open rows `span`; a failed one carries its error."""
        try:
            figures, moments = self._scorer(span).score(self.panels(params, span[1]))
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
        shared = self._shared(params, seen)
        if shared is not None:
            try:
                return self._computed(shared, params, seen)
            except KnowableError:  # asked with values, it says where in the strategy that came from
                pass
        strategy = self._engine.made(params)
        given = call_signals(strategy, seen).given()
        for name, value in given.items():
            if isinstance(value, Feature) and value.market is seen:
                given[name] = Program.of(value).evaluate(self._engine.market, {}, self._memo)[:stop]
        decide = None if strategy.rebalance is None else self._engine.rows(strategy)[:stop]
        return signal_panels(given, strategy, seen, decide)

    def _computed(self, shared: Shared, params: Mapping[str, Any], seen: Market) -> SignalPanels:
        """The panels of formulas. What hangs on few of the parameters is kept: other trials have the same."""
        engine, given = self._engine, dict[str, Any]()
        for name, each in shared.items():
            if isinstance(each, Formula):
                given[name] = each.value(params)
            else:
                keep = len(each.symbols) < self._n_numbers
                given[name] = each.evaluate(engine.market, params, self._memo, keep_result=keep)[: seen.n_bars]
        rule, rows = engine.rule_of(params)
        decide = None if rule[1] is None else rows[: seen.n_bars]
        return signal_panels(given, engine.strategy.holding(params), seen, decide)

    def _scorer(self, span: tuple[int, int]) -> SignalScorer:
        """What scores on some rows, made once."""
        if span not in self._scorers:
            engine = self._engine
            self._scorers[span] = SignalScorer(engine.until(span[1]), engine.settings, start=span[0], stop=span[1])
        return self._scorers[span]

    def _shared(self, params: Mapping[str, Any], seen: Market) -> Shared | None:
        key = (seen.n_bars, *((type(params[name]), params[name]) for name in self._choices))
        if key not in self._formulas:
            self._formulas[key] = shared_formulas(
                self._engine.strategy,
                lambda made: call_signals(made, seen).given(),
                params,
                seen,
                numbers=NUMBERS,
            )
        return self._formulas[key]
