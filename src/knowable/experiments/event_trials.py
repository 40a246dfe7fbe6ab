"""Trials of strategies that decide bar by bar: their features are shared, their bars are their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.backtest.bar_by_bar import score_bar_by_bar
from knowable.backtest.events.inputs import call_features, feature_panels, own_copy
from knowable.backtest.events.run import event_tape
from knowable.backtest.tape import Tape
from knowable.data.market import Market
from knowable.errors import KnowableError
from knowable.experiments.symbolic import shared_programs
from knowable.experiments.trial_score import NO_FIGURES, TrialScore
from knowable.features import Feature, Memo, Program
from knowable.params import Choice
from knowable.strategy import Strategy

if TYPE_CHECKING:
    from knowable.experiments.engine import TrialEngine

__all__ = ["EventTrials"]

Panel: TypeAlias = npt.NDArray[np.float64]


class EventTrials:
    """Runs single trials for a `TrialEngine`; may be called from many threads at once.

    `features` that builds expressions without looking at the values of parameters is asked once, as `weights` is.

    Args:
        engine: whose strategy, market, settings and schedules it uses.
        memo: results of expressions, shared by all trials.
    """

    def __init__(self, engine: TrialEngine, memo: Memo) -> None:
        self._engine, self._memo = engine, memo
        self._programs: dict[tuple[Any, ...], dict[str, Program] | None] = {}
        self._tapes: dict[tuple[int, int], Tape] = {}
        parameters = engine.strategy.parameters
        self._choices = tuple(name for name, p in parameters.items() if isinstance(p, Choice))

    def score(self, params: Mapping[str, Any], span: tuple[int, int]) -> TrialScore:
        """Score a complete parameter set on the half-open rows `span`; a failed one carries its error."""
        (start, stop), engine = span, self._engine
        try:
            own, features = self.prepared(params, stop)
            figures, moments = score_bar_by_bar(
                own,
                engine.until(stop),
                engine.settings,
                features=features,
                decide=engine.rows(own)[:stop],
                tape=self._tape(start, stop),
            )
        except KnowableError as error:
            told = "\n".join([str(error), *getattr(error, "__notes__", [])])
            return TrialScore(figures=NO_FIGURES, error=told)
        return TrialScore(figures=tuple(figures.tolist()), moments=moments)

    def prepared(self, params: Mapping[str, Any], stop: int) -> tuple[Strategy, dict[str, Panel]]:
        """A run's own strategy and its features, name -> (stop, n_assets).

        Args:
            params: a complete parameter set.
            stop: rows that the strategy's own code may see.
        """
        seen = self._engine.until(stop)
        programs = self._shared(params, seen)
        own = own_copy(self._engine.made(params))
        if programs is not None:
            return own, {name: self._values(program, params)[:stop] for name, program in programs.items()}
        returned = call_features(own, seen)
        inside = {name: value for name, value in returned.items() if _is_of(value, seen)}
        panels = feature_panels({k: v for k, v in returned.items() if k not in inside}, own, seen)
        panels |= {name: self._values(Program.of(value), {})[:stop] for name, value in inside.items()}
        return own, panels

    def _tape(self, start: int, stop: int) -> Tape:
        """The tape of some rows, read once."""
        if (start, stop) not in self._tapes:
            engine = self._engine
            self._tapes[start, stop] = event_tape(engine.until(stop), engine.settings, start, stop)
        return self._tapes[start, stop]

    def _values(self, program: Program, params: Mapping[str, Any]) -> Panel:
        return program.evaluate(self._engine.market, params, self._memo)

    def _shared(self, params: Mapping[str, Any], seen: Market) -> dict[str, Program] | None:
        key = (seen.n_bars, *((type(params[name]), params[name]) for name in self._choices))
        if key not in self._programs:
            self._programs[key] = self._build(params, seen)
        return self._programs[key]

    def _build(self, params: Mapping[str, Any], seen: Market) -> dict[str, Program] | None:
        declared = set(self._engine.strategy.parameters)

        def ask(made: Strategy) -> Mapping[str, Any] | None:
            returned = call_features(made, seen)
            return returned if set(vars(made)) <= declared else None  # what it kept, each run's own copy must keep

        return shared_programs(self._engine.strategy, ask, params, seen)


def _is_of(value: Any, seen: Market) -> bool:
    return isinstance(value, Feature) and value.market is seen
