"""The look for look-ahead that every search takes before it begins, and what its record and its result say of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from knowable.backtest.settings import Settings
from knowable.cluster.limits import TimeLimit, TrialTimeoutError
from knowable.data.market import Market
from knowable.errors import InputError, KnowableError, LookAheadError, shown
from knowable.params import Choice
from knowable.report.page import Doubt
from knowable.strategy import Strategy
from knowable.validate.glance import Glance, glance

__all__ = ["Check", "check_how", "look_again", "look_doubts", "look_first", "spread_sets", "usual_sets"]

Check: TypeAlias = bool | Literal["warn"]
"""True: a strategy that looks ahead is refused; ``"warn"``: it is searched with a warning; False: nobody looks."""

_MOST_SETS = 3
_LINES = 9
_GO_ON = "Found in a quick look before the search. To go on all the same, say check='warn'; kn.check looks closer."
_CHANCE = {
    "random": "It is not deterministic, so its figures cannot be repeated",
    "state": "It is not deterministic: what it keeps between runs changes what it does",
}


def check_how(check: object) -> Check:
    """Return `check` if it says how to look. Raises: InputError."""
    if check is True or check is False or check == "warn":
        return check
    raise InputError(f"`check` must be True, False or 'warn', but check={shown(check)}.")


def look_first(
    strategy: type[Strategy],
    market: Market,
    sets: Iterable[Mapping[str, Any]],
    settings: Settings,
    *,
    check: Check,
    n_trials: int,
    seed: int = 0,
    time_limit: float | None = None,
) -> Mapping[str, Any] | None:
    """Look at a few parameter sets of a strategy before it is searched.

    Args:
        strategy: the class.
        market: what the search shows.
        sets: complete parameter sets, the most telling first.
        settings: the account.
        check: what to do about a leak; see `Check`.
        n_trials: of the search; a look may take a twentieth of its time, or 0.3 s.
        seed: of the search.
        time_limit: of one trial; a look at one that takes longer is given up.

    Returns: what `Glance.plain` gives, for the record; None with ``check=False``.
    Raises: LookAheadError if it looks ahead, hangs on the number of bars, reads what was restated, or writes into the
        market, unless ``check="warn"``.
    """
    if check is False:
        return None
    seen = _looked(strategy, market, sets, settings, n_trials=n_trials, seed=seed, time_limit=time_limit)
    if seen.report is not None and seen.report.findings:
        text = f"{seen.report.text(_LINES, 3)}\n{_GO_ON}"
        if seen.refused and check is True:
            raise LookAheadError(text)
        kind = seen.report.findings[0].kind
        if seen.refused or kind in _CHANCE:
            told = text if seen.refused else f"{_CHANCE[kind]}.\n{seen.report.text(_LINES, 3)}"
            warnings.warn(told, UserWarning, stacklevel=4)
    return seen.plain()


def look_again(
    looked: Mapping[str, Any] | None,
    strategy: type[Strategy],
    market: Market,
    params: Mapping[str, Any],
    settings: Settings,
) -> Mapping[str, Any] | None:
    """Look at the parameter set that a search chose; a leak there takes the place of what the first look saw.

    Args:
        looked: what the first look saw; None, or a leak, stays.
        strategy: the class.
        market: what was traded.
        params: the choice.
        settings: the account.
    """
    if looked is None or not looked.get("ok", True):
        return looked
    seen = _looked(strategy, market, [params], settings, n_trials=1, seed=0, time_limit=None)
    if seen.report is None or (seen.report.ok and looked["looked"]):
        return looked
    return seen.plain()


def usual_sets(strategy: type[Strategy]) -> list[dict[str, Any]]:
    """The defaults, and the defaults with other options of the first choices: code often branches on those."""
    usual = {name: param.default for name, param in strategy.parameters.items()}
    found = [usual]
    for name, param in strategy.parameters.items():
        if isinstance(param, Choice):
            found += [{**usual, name: option} for option in param.options if option is not usual[name]]
    return found[:_MOST_SETS]


def spread_sets(wanted: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first, the last and the middle one of a list."""
    places = dict.fromkeys((0, len(wanted) - 1, len(wanted) // 2))
    return [wanted[place] for place in places]


def look_doubts(looked: Mapping[str, Any] | None) -> tuple[Doubt, ...]:
    """What a look says of the result: one doubt, and another where no asset ever ends."""
    found = [Doubt(name="Look-ahead", value=math.nan, **_verdict(looked))]
    for each in (looked or {}).get("suspicions", ()):
        if each["kind"] in ("survivorship", "same-bar"):
            name = each["kind"].capitalize()
            sentence = each["detail"][:1].upper() + each["detail"][1:]
            found.append(Doubt(name=name, value=math.nan, shown="suspected", sentence=sentence, level="caution"))
    return tuple(found)


def _verdict(looked: Mapping[str, Any] | None) -> dict[str, Any]:
    if looked is None:
        return {
            "shown": "not looked for",
            "sentence": "Nobody looked beforehand; kn.check does.",
            "level": "bad",
        }
    if not looked["looked"]:
        return {"shown": "not known", "sentence": f"It could not be looked for: {looked['unseen']}", "level": "caution"}
    if not looked["ok"]:
        first = looked["findings"][0]
        sentence = f"{first['kind']}: {first['asset']} from row {first['row']}; {first['detail']} kn.check says more."
        return {"shown": "found", "sentence": sentence, "level": "bad"}
    if looked["expression"]:
        return _in_the_language(looked)
    sentence = (
        "In a quick look, earlier weights stayed the same to the bit when later bars were changed or left out; "
        "kn.check looks closer."
    )
    return {"shown": "none found", "sentence": sentence, "level": "good"}


def _in_the_language(looked: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on one expression: only what its author brought along could know better."""
    brought = [each["detail"] for each in looked.get("suspicions", ()) if each["kind"] == "outside"]
    if brought:
        sentence = f"Its weights are one expression of the language, but {brought[0]}"
        return {"shown": "not known", "sentence": sentence, "level": "caution"}
    if looked.get("models"):
        sentence = (
            "Its weights are one expression of the language, and its models are trained by what was known; what their "
            "estimators read elsewhere is not seen."
        )
        return {"shown": "none found", "sentence": sentence, "level": "good"}
    return {"shown": "impossible", "sentence": "Its weights are one expression of the language.", "level": "good"}


def _looked(
    strategy: type[Strategy],
    market: Market,
    sets: Iterable[Mapping[str, Any]],
    settings: Settings,
    *,
    n_trials: int,
    seed: int,
    time_limit: float | None,
) -> Glance:
    made, unseen = [], ""
    for params in sets:
        try:
            made.append(strategy(**params))
        except KnowableError as error:
            unseen = unseen or str(error).splitlines()[0]
        except Exception as error:  # noqa: BLE001 - an `__init__` of the user's; the trial itself will tell it
            unseen = unseen or f"{strategy.__name__} raised {type(error).__name__}: {error}"
    if not made:
        return Glance(report=None, unseen=unseen)
    try:
        with TimeLimit(time_limit):
            return glance(made, market, seed=seed, n_trials=n_trials, fill=settings.fill)
    except TrialTimeoutError:
        return Glance(report=None, unseen=f"a look took longer than the time limit of {time_limit:g} s.")
