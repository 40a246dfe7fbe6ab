"""Rules of cleaning: plain values that say what is suspicious and what to do about it.

Each rule judges a statement by what was known when it arrived: itself and the rows known by then (`confirm` waits for
one later row, and the verdict is known only then). Rules judge what the sources said, never what cleaning wrote, so
their order does not matter, cleaning twice is cleaning once, and no verdict hangs on rows known after it. The other
side of it: what arrives later about an earlier period is judged itself, but does not reopen the case of a newer one.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from knowable.data.schema import PRICES, Schema, lag_ns
from knowable.errors import InputError, shown, unknown_name

__all__ = [
    "RATIOS",
    "RULES",
    "Bounds",
    "Conflict",
    "Duplicate",
    "Gap",
    "Jump",
    "OhlcOrder",
    "Rule",
    "SplitLike",
    "Stale",
    "check_rules",
    "default_rules",
    "label",
    "read_rule",
    "signature",
]

Do: TypeAlias = Literal["flag", "quarantine", "repair"]
Replace: TypeAlias = Literal["previous", "missing", "scale"]
Confirm: TypeAlias = Literal["back", "stays"]

RATIOS = (
    *((n, 1) for n in range(2, 21)),
    (3, 2),
    (5, 2),
    *((1, n) for n in range(2, 201)),
    (2, 3),
    (2, 5),
    (3, 10),
)
"""(new, old) shares that count as a split: companies merge 1:200, but a move of 5:4 is more often news than a split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What every rule has: what to do, and by what to replace.

    Attributes:
        do: ``"flag"`` writes the verdict down; ``"quarantine"`` also withdraws the statement from the moment the
            verdict is known; ``"repair"`` also states another value from then on, as a new revision.
        replace: of a repair. ``"previous"``: the values of the period before; ``"missing"``: null; ``"scale"``: the
            price times the factor it is off by, where that is one of `RATIOS` or a power of ten.
    """

    does: ClassVar[tuple[str, ...]] = ("flag", "quarantine", "repair")
    replaces: ClassVar[tuple[str, ...]] = ()
    do: Do = "flag"
    replace: Replace | None = None

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if self.do not in ("flag", "quarantine", "repair"):
            raise unknown_name("`do` of a rule", self.do, ("flag", "quarantine", "repair"), where=kind)
        if self.do not in self.does:
            raise InputError(f"{kind} cannot {self.do}: {_WHY_NOT[kind]} It can {' or '.join(self.does)}.")
        if self.replace is not None and self.replace not in self.replaces:
            raise unknown_name("`replace`", self.replace, self.replaces, where=kind)
        if (self.do == "repair") != (self.replace is not None):
            came = f"do={self.do!r}, replace={self.replace!r}"
            raise InputError(
                f"A repair says by what, and nothing else does, but {kind} has {came}.\n"
                f"Such as {kind}(..., do='repair', replace={self.replaces[0]!r})."
            )
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if "float" in str(item.type) and not (_is_number(value) or (value is None and "None" in str(item.type))):
                raise InputError(f"`{item.name}` of {kind} must be a number, but it is {shown(value)}.")


_WHY_NOT = {
    "Gap": "there is no row to withdraw.",
    "Duplicate": "the other statement says the same.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds(_Rule):
    """A value below `low` or above `high`, both allowed themselves. Evidence: the row.

    Attributes:
        field: a numeric field.
        low: least value, None: no bound.
        high: greatest value, None: no bound.
    """

    replaces: ClassVar[tuple[str, ...]] = ("previous", "missing")
    field: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        _Rule.__post_init__(self)
        if self.low is None and self.high is None:
            raise InputError(f"Bounds(field={self.field!r}) needs low= or high=.")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise InputError(f"`low <= high` must hold, but low={self.low}, high={self.high}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OhlcOrder(_Rule):
    """A bar whose high is not the highest or whose low is not the lowest of its prices. Evidence: the row."""

    replaces: ClassVar[tuple[str, ...]] = ("previous",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump(_Rule):
    """A log move from the period before of more than `limit` robust scales. Evidence: the row and those before it.

    The scale is the MAD of the moves before this one. A row that is back at the level before a jump is its return,
    not a second jump.

    Attributes:
        field: a positive numeric field; rows where it is not positive are passed over.
        limit: in scales.
        window: moves the scale is taken from.
        least: moves needed before anything is judged.
        floor: least scale, in log units, for series that stand still.
        confirm: ``"back"``: only spikes, known when the next row is back within the limit of the level before;
            ``"stays"``: only steps, known when the next row is nearer to the new level; None: at once.
        actions: dataset of corporate actions: splits known by then are taken out of the move.
    """

    replaces: ClassVar[tuple[str, ...]] = ("previous", "missing", "scale")
    field: str = "close"
    limit: float = 12.0
    window: int = 63
    least: int = 20
    floor: float = 0.01
    confirm: Confirm | None = None
    actions: str | None = None

    def __post_init__(self) -> None:
        _Rule.__post_init__(self)
        _check_moves(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLike(_Rule):
    """A price that moves by a split's ratio on a day for which no split is known. Evidence as `Jump`.

    The move must exceed `limit` scales, and must differ from the log of one of `RATIOS` by at most `share` of it; so
    must the move to the open, for a split happens between sessions.

    Attributes:
        field: a price.
        share: of the ratio's log that news of the same day may add.
        limit: in robust scales, as `Jump`.
        window: as `Jump`.
        least: as `Jump`; a series with fewer moves is judged with the scale `floor`.
        floor: least scale, in log units.
        opening: field that must show the move too; None: none does. It is skipped where the schema lacks it.
        confirm: as `Jump`: ``"stays"`` for splits; ``"back"`` for single rows in a wrong unit.
        actions: dataset of corporate actions whose splits explain a move.
    """

    replaces: ClassVar[tuple[str, ...]] = ("scale",)
    field: str = "close"
    share: float = 0.1
    limit: float = 10.0
    window: int = 63
    least: int = 20
    floor: float = 0.02
    opening: str | None = "open"
    confirm: Confirm | None = None
    actions: str | None = None

    def __post_init__(self) -> None:
        _Rule.__post_init__(self)
        _check_moves(self)
        if not 0 < self.share < 0.5:
            raise InputError(f"`0 < share < 0.5` must hold, but share={self.share}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale(_Rule):
    """The same value for the `repeats`-th time in a row, or more. Evidence: the row and those before it.

    Attributes:
        field: any field, or several: all must repeat.
        repeats: periods in a row, this one included; at least 2.
    """

    replaces: ClassVar[tuple[str, ...]] = ("missing",)
    field: str | tuple[str, ...] = "close"
    repeats: int = 10

    def __post_init__(self) -> None:
        _Rule.__post_init__(self)
        _whole(self, "repeats", 2)
        if not isinstance(self.field, str):
            object.__setattr__(self, "field", tuple(self.field))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(_Rule):
    """Sessions or bars of the expected clock that are missing between two rows of an entity. Evidence: both rows.

    A verdict an interval; its event time is the first missing label. It is known when the later row arrives.

    Attributes:
        every: spacing of the bars, such as ``"1min"``; None: sessions of the schema's calendar where the data are
            daily, else the spacing that is usual among the first rows of the dataset.
        least: missing bars that make a gap.
    """

    does: ClassVar[tuple[str, ...]] = ("flag", "repair")
    replaces: ClassVar[tuple[str, ...]] = ("previous",)
    every: str | None = None
    least: int = 1

    def __post_init__(self) -> None:
        _Rule.__post_init__(self)
        _whole(self, "least", 1)
        if self.every is not None and lag_ns(self.every) <= 0:
            raise InputError(f"`every > 0` must hold, but every={self.every!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(_Rule):
    """A period stated twice at one known time with the same values. Evidence: both statements."""

    does: ClassVar[tuple[str, ...]] = ("flag",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict(_Rule):
    """A period stated anew with a value that differs from the standing one. Evidence: both statements.

    Attributes:
        field: any field.
        limit: relative difference allowed, |new - old| <= limit * max(|new|, |old|). Texts differ wholly; so do a
            value and its absence.
        same_moment: count only statements of one known time, which no order tells apart; else two captures that
            disagree count too.
    """

    replaces: ClassVar[tuple[str, ...]] = ("missing",)
    field: str = "close"
    limit: float = 0.0
    same_moment: bool = False

    def __post_init__(self) -> None:
        _Rule.__post_init__(self)
        if not (math.isfinite(self.limit) and self.limit >= 0):
            raise InputError(f"`limit >= 0` must hold, but limit={self.limit}.")


Rule: TypeAlias = Bounds | OhlcOrder | Jump | SplitLike | Stale | Gap | Duplicate | Conflict

RULES: dict[str, type[Rule]] = {
    "bounds": Bounds,
    "ohlc_order": OhlcOrder,
    "jump": Jump,
    "split_like": SplitLike,
    "stale": Stale,
    "gap": Gap,
    "duplicate": Duplicate,
    "conflict": Conflict,
}
"""Name of each rule, as flags, reports and the command line have it."""

_NAMES = {kind: name for name, kind in RULES.items()}


def label(rule: Rule) -> str:
    """A rule's name and field, such as ``"jump:close"``."""
    fields = getattr(rule, "field", None)
    text = fields if isinstance(fields, str) else "+".join(fields or ())
    return f"{_NAMES[type(rule)]}:{text}" if text else _NAMES[type(rule)]


def default_rules(schema: Schema) -> tuple[Rule, ...]:
    """The rules of a dataset when none are given, by its kind; all of them flag only."""
    rules: list[Rule] = [Duplicate()]
    if schema.kind == "bars":
        rules += [Conflict(field="close", limit=0.01), OhlcOrder(), Jump(), SplitLike(), Stale(), Gap()]
    elif schema.kind == "facts":
        rules += [Conflict(field=name, same_moment=True) for name in schema.fields if name not in schema.keys]
    for name, field in schema.fields.items():  # rows that other engines wrote were held against no bound
        if field.low is not None or field.high is not None:
            rules.append(Bounds(field=name, low=field.low, high=field.high))
    return tuple(rules)


def check_rules(rules: Sequence[Rule] | None, schema: Schema, dataset: str) -> tuple[Rule, ...]:
    """The rules to apply to a dataset; the default ones when None.

    Raises: InputError for something that is no rule, a rule given twice or one the schema has no sense for;
        UnknownNameError for a field that does not exist.
    """
    if rules is None:
        return default_rules(schema)
    if isinstance(rules, str) or not isinstance(rules, Sequence) or not rules:
        raise InputError(f"`rules` must be a list of rules, such as [Jump(field='close')], but it is {shown(rules)}.")
    for rule in rules:
        if type(rule) not in _NAMES:
            raise InputError(f"`rules` must hold rules ({', '.join(_kinds())}), but it holds {shown(rule)}.")
        _check_against(rule, schema, dataset)
    twice = next((rule for k, rule in enumerate(rules) if rule in rules[:k]), None)
    if twice is not None:
        raise InputError(f"`rules` has {shown(twice, 120)} twice.")
    return tuple(rules)


def read_rule(text: str) -> Rule:
    """A rule as a command line has it: its name, a field after a colon, and settings, such as
    ``"jump:close,limit=8,confirm=back,do=quarantine"``.

    Raises: UnknownNameError for a rule or setting that does not exist; InputError for a value without sense.
    """
    head, *rest = [part.strip() for part in text.split(",")]
    name, _, field = head.partition(":")
    if name not in RULES:
        raise unknown_name("rule", name, RULES)
    settings = {item.name: item for item in dataclasses.fields(RULES[name])}
    given: dict[str, Any] = {}
    for part in ([f"field={field}"] if field else []) + rest:
        key, sign, value = part.partition("=")
        if key not in settings:
            raise unknown_name("setting", key, settings, where=f"rule {name!r}")
        if not sign:
            raise InputError(f"A setting of a rule is NAME=VALUE, but {shown(part)} came in {shown(text)}.")
        given[key] = tuple(value.split("+")) if key == "field" and "+" in value else _typed(value)
    try:
        return RULES[name](**given)
    except TypeError:  # a setting that the rule needs
        needed = [key for key, item in settings.items() if item.default is dataclasses.MISSING]
        raise InputError(f"{shown(text)} lacks {', '.join(needed)}; {name} takes {', '.join(settings)}.") from None


def _typed(text: str) -> Any:
    """A value as typed: a number, nothing or a switch where it says so, else text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _kinds() -> list[str]:
    return [kind.__name__ for kind in RULES.values()]


def _check_against(rule: Rule, schema: Schema, dataset: str) -> None:
    fields = getattr(rule, "field", ())
    for name in (fields,) if isinstance(fields, str) else fields:
        if name not in schema.fields:
            raise unknown_name("field", name, schema.fields, where=f"dataset {dataset!r} ({label(rule)})")
        if isinstance(rule, Bounds | Jump | SplitLike) and not schema.fields[name].numeric:
            raise InputError(f"{label(rule)} needs numbers, but {name!r} is of {schema.fields[name].dtype}.")
        if rule.replace == "missing" and schema.kind == "bars" and name in PRICES and not _may_lack(schema, name):
            raise InputError(
                f"{label(rule)} cannot replace by 'missing': a bar of {dataset!r} may not lack {name!r}.\n"
                "Use do='quarantine', which withdraws the whole bar, or replace='previous'."
            )
    if isinstance(rule, OhlcOrder) and not set(PRICES) <= set(schema.fields):
        raise InputError(f"OhlcOrder needs the fields {', '.join(PRICES)}; {dataset!r} has {', '.join(schema.fields)}.")


def _may_lack(schema: Schema, name: str) -> bool:
    return schema.partial and name != "close"


def _check_moves(rule: Jump | SplitLike) -> None:
    if not (math.isfinite(rule.limit) and rule.limit > 0 and math.isfinite(rule.floor) and rule.floor > 0):
        raise InputError(f"`limit > 0` and `floor > 0` must hold, but limit={rule.limit}, floor={rule.floor}.")
    _whole(rule, "window", 2)
    _whole(rule, "least", 2)
    if rule.least > rule.window:
        raise InputError(f"`least <= window` must hold, but least={rule.least}, window={rule.window}.")
    if rule.confirm not in (None, "back", "stays"):
        raise unknown_name("`confirm`", rule.confirm, ("back", "stays"), where=type(rule).__name__)
    if rule.replace == "scale" and rule.confirm != "back":
        raise InputError(
            "replace='scale' needs confirm='back': a factor can be taken out of a row only once the next row shows "
            "that the price was never there.\nA level that stays is a split: append it to a dataset of actions."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _whole(rule: Any, name: str, least: int) -> None:
    value = getattr(rule, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"`{name} >= {least}` must hold, a whole number, but {name}={shown(value)}.")


def signature(rule: Rule) -> str:
    """A rule in full, the same text for the same rule: part of the id of each of its verdicts."""
    parts = (f"{item.name}={_plain(item, getattr(rule, item.name))!r}" for item in dataclasses.fields(rule))
    return f"{type(rule).__name__}({', '.join(parts)})"


def _plain(item: dataclasses.Field[Any], value: Any) -> Any:
    """12 and 12.0 are one limit."""
    return float(value) if "float" in str(item.type) and value is not None else value
