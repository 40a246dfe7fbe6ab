"""Scores many parameter sets of one strategy on one market, computing what they share once."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.backtest.settings import Settings
from knowable.backtest.simulate import score
from knowable.backtest.tape import Tape, read_tape
from knowable.backtest.weights import call_weights, decision_rows, members_only, weights_panel
from knowable.calendars import rule_of
from knowable.data.market import Market
from knowable.errors import KnowableError, ParameterError, StrategyError
from knowable.experiments.event_trials import EventTrials
from knowable.experiments.signal_trials import SignalTrials
from knowable.experiments.symbolic import shared_programs
from knowable.experiments.trial_score import NO_FIGURES, TrialScore
from knowable.features import Feature, Memo, Program
from knowable.metrics import METRICS
from knowable.params import Choice
from knowable.strategy import Strategy, gives_signals, is_event_driven

__all__ = ["SMALL_PANEL", "TrialEngine", "check_columns"]

Panel: TypeAlias = npt.NDArray[np.float64]

_MEMO_BYTES = 96 << 20
_BATCH_BYTES = 32 << 20
_BATCH_TRIALS = 128
_ROOM_BYTES = 1 << 20
SMALL_PANEL = 50_000  # cells below which Python takes a good part of a trial's time
_PATIENCE = 0.02  # seconds
_COLUMNS = frozenset(
    (
        "study",
        "number",
        "source",
        "error",
        "fold",
        "train_start",
        "test_start",
        "test_end",
        "in_sample",
        "out_of_sample",
    )
)


class TrialEngine:
    """Scores parameter sets; may be called from many threads at once.

    A strategy whose `weights` builds an expression without looking at the values of its parameters is asked once, with
    symbols for numbers, and the expression is evaluated for each set. Any other is asked for each set. Either way equal
    subexpressions are evaluated once, and the result is the same. Of a strategy that decides bar by bar that holds for
    its `features`; its trials run one after another.

    The strategy's own code never sees a row after the scored ones, though an expression it returns is evaluated on the
    whole market at once, because an expression cannot look ahead.

    Args:
        strategy: the class.
        market: what it runs on.
        settings: the account.
        memo_bytes: bound on remembered subexpressions.
    """

    def __init__(
        self, strategy: type[Strategy], market: Market, settings: Settings, *, memo_bytes: int = _MEMO_BYTES
    ) -> None:
        self.strategy, self.market, self.settings = strategy, market, settings
        self._memo = Memo(memo_bytes)
        self._programs: dict[tuple[Any, ...], Program | None] = {}
        self._rows: dict[tuple[type, Any], npt.NDArray[np.bool_]] = {}
        self._seen: dict[int, Market] = {}
        self._same_rule: tuple[type, Any] | None = None
        self._tape: Tape | None = None
        self._rooms = threading.local()
        self._evaluates = threading.Lock() if market.n_bars * market.n_assets < SMALL_PANEL else None
        self._choices = tuple(name for name, p in strategy.parameters.items() if isinstance(p, Choice))
        self._events = EventTrials(self, self._memo) if is_event_driven(strategy) else None
        self._signals = SignalTrials(self, self._memo) if gives_signals(strategy) else None

    @property
    def events(self) -> EventTrials | None:
        """What runs its trials where they decide bar by bar."""
        return self._events

    @property
    def signals(self) -> SignalTrials | None:
        """What runs its trials where they say when to enter and to leave."""
        return self._signals

    @property
    def batch_size(self) -> int:
        """Parameter sets to score in one call so that their weights stay within a memory bound."""
        return max(1, min(_BATCH_TRIALS, _BATCH_BYTES // (8 * self.market.n_bars * self.market.n_assets)))

    def weights(self, params: Mapping[str, Any], stop: int | None = None, out: Panel | None = None) -> Panel:
        """Target weights of one complete parameter set, (n_bars, n_assets).

        Args:
            params: a value for every parameter.
            stop: rows that the strategy's own code may see; all when None. Rows from there on are NaN unless it
                returns an expression, which cannot look ahead and is evaluated on all rows.
            out: where they may be put, to spare fresh memory; what is returned is not always this.
        """
        seen = self.until(stop)
        program = self._program(params, seen)
        if program is not None:
            found = program.evaluate(self.market, params, self._memo, keep_result=False, out=out)
            return members_only(found, self.market)
        strategy = self.made(params)
        returned = call_weights(strategy, seen)
        if isinstance(returned, Feature) and returned.market is seen:
            return members_only(Program.of(returned).evaluate(self.market, {}, self._memo), self.market)
        panel = weights_panel(returned, strategy, seen)
        if seen is self.market:
            return panel
        padded = np.full(self.market.shape, np.nan)
        padded[:stop] = panel
        padded.flags.writeable = False
        return padded

    def made(self, params: Mapping[str, Any]) -> Strategy:
        """The strategy with these parameters. Raises: StrategyError if its own `__init__` raises."""
        try:
            return self.strategy(**params)
        except KnowableError:
            raise
        except Exception as error:
            given = ", ".join(f"{name}={value!r}" for name, value in params.items())
            raise StrategyError(
                f"{self.strategy.__name__}({given}) raised {type(error).__name__}: {error}\n"
                "Raised when it was made, before any bar was looked at."
            ) from error

    def rows(self, strategy: Strategy) -> npt.NDArray[np.bool_]:
        """Rows on which its rebalance rule lets it act. Raises: StrategyError if asking for the rule raises."""
        rule = _rule(strategy)
        if rule not in self._rows:
            self._rows[rule] = decision_rows(strategy, self.market)
        return self._rows[rule]

    def score(self, trials: Sequence[Mapping[str, Any]], span: tuple[int, int]) -> list[TrialScore]:
        """Score complete parameter sets on the half-open rows `span`, in order. A failed one carries its error."""
        single = self._events or self._signals
        if single is not None:
            return [single.score(params, span) for params in trials]
        room = self._room()
        scores: list[TrialScore] = []
        for at in range(0, len(trials), len(room)):
            scores += self._score_together(trials[at : at + len(room)], span, room)
        return scores

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """This thread's turn to evaluate small panels, which others wait a little while for.

        Threads that evaluate at once pass Python's lock to and fro for each kernel of microseconds: two were slower
        than one. By turns, one evaluates while others score in one long call. Whose code takes long does not need that.
        """
        mine = self._evaluates is not None and self._evaluates.acquire(timeout=_PATIENCE)
        try:
            yield
        finally:
            if mine and self._evaluates is not None:
                self._evaluates.release()

    def _room(self) -> Panel:
        """(k, n_bars, n_assets) for the weights of trials that are scored in one call: this thread's, used again.

        Memory fresh from the system takes as long as half a ledger; what stays in the processor's cache is read sooner.
        """
        found: Panel | None = getattr(self._rooms, "panels", None)
        if found is None:
            shape = self.market.shape
            many = max(1, min(_BATCH_TRIALS, _ROOM_BYTES // (8 * shape[0] * shape[1])))
            found = self._rooms.panels = np.empty((many, *shape))
        return found

    def _score_together(
        self, trials: Sequence[Mapping[str, Any]], span: tuple[int, int], room: Panel
    ) -> list[TrialScore]:
        """Score at most as many as there is room for."""
        found: list[TrialScore | None] = [None] * len(trials)
        by_rule: dict[tuple[type, Any], list[tuple[int, Panel]]] = {}
        n_placed = 0  # panels that stand in the room, the first ones of it
        with self._turn():
            for number, params in enumerate(trials):
                place = room[n_placed]
                try:
                    rule, _ = self.rule_of(params)
                    panel = self.weights(params, span[1], place)
                except KnowableError as error:
                    found[number] = TrialScore(figures=NO_FIGURES, error=str(error))
                    continue
                n_placed += panel is place
                by_rule.setdefault(rule, []).append((number, panel))
        for rule, members in by_rule.items():
            together = room[:n_placed] if n_placed == len(members) == sum(map(len, by_rule.values())) else None
            scored = score(
                [panel for _, panel in members] if together is None else together,
                self._rows[rule],
                self.market,
                self.settings,
                on_change=rule[1] is None,
                tape=self._tape_of(span),
            )
            for (number, _), figures, moments, why in zip(
                members, scored.metrics.tolist(), scored.moments, scored.errors, strict=True
            ):
                found[number] = (
                    TrialScore(figures=tuple(figures), moments=moments)
                    if why is None
                    else TrialScore(figures=NO_FIGURES, error=why)
                )
        return [entry for entry in found if entry is not None]

    def _tape_of(self, span: tuple[int, int]) -> Tape:
        """The tape of some rows; the last one is kept."""
        kept = self._tape
        if kept is None or (kept.start, kept.stop) != span:
            kept = self._tape = read_tape(self.market, self.settings, *span)
        return kept

    def rule_of(self, params: Mapping[str, Any]) -> tuple[tuple[type, Any], npt.NDArray[np.bool_]]:
        """The rebalance rule of one set and its rows; asked once where it hangs on no parameter."""
        if self._same_rule is None:
            strategy = self.made(params)
            self.rows(strategy)
            fixed = not hasattr(inspect.getattr_static(self.strategy, "rebalance"), "__get__")
            if not fixed or self.strategy.__init__ is not Strategy.__init__:
                return _rule(strategy), self.rows(strategy)
            self._same_rule = _rule(strategy)
        return self._same_rule, self._rows[self._same_rule]

    def until(self, stop: int | None) -> Market:
        """The bars before row `stop`, the same market each time."""
        if stop is None or stop == self.market.n_bars:
            return self.market
        return self._seen.setdefault(stop, self.market.until(stop))

    def _program(self, params: Mapping[str, Any], seen: Market) -> Program | None:
        """The one expression for all sets with these choices, or None where the strategy must be asked each time."""
        # 1, 1.0 and True are equal, but not the same
        key = (seen.n_bars, *((type(params[name]), params[name]) for name in self._choices))
        if key not in self._programs:
            self._programs[key] = self._build(params, seen)
        return self._programs[key]

    def _build(self, params: Mapping[str, Any], seen: Market) -> Program | None:
        programs = shared_programs(self.strategy, lambda made: {"weights": made.weights(seen)}, params, seen)
        return None if programs is None else programs["weights"]


def _rule(strategy: Strategy) -> tuple[type, Any]:
    """Its rebalance rule, which may be a property, as a key."""
    try:
        rule = strategy.rebalance
        if isinstance(rule, Iterable) and not isinstance(rule, str):
            rule = rule_of(rule)  # dates in a list, which is no key
        hash(rule)
    except KnowableError:
        raise
    except Exception as error:
        raise StrategyError(f"{strategy!r}.rebalance raised {type(error).__name__}: {error}") from error
    return type(rule), rule


def check_columns(strategy: type[Strategy]) -> type[Strategy]:
    """Return `strategy`; raise ParameterError if a parameter bears the name of a column of the tables of trials."""
    taken = [name for name in strategy.parameters if name in _COLUMNS or name in METRICS]
    if taken:
        raise ParameterError(
            f"A parameter that is searched cannot be called {taken[0]!r}, because tables of trials have such a "
            f"column, in {strategy.__name__}.\nChoose another name, such as {taken[0]}_limit."
        )
    return strategy
