"""Random expressions over the whole operator table: what the laws of the language are tried on.

An operator that joins the table is drawn from then on. A setting that joins needs a rule here, which says how a valid
value is drawn; without one `check_rules` says so.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from knowable.calendars import calendar
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.features.apply import apply
from knowable.features.feature import Feature
from knowable.features.gate import day_node
from knowable.features.operators import OPERATORS, SETTINGS, Operator
from knowable.kernels.clock import WAYS
from knowable.kernels.covariance import ESTIMATORS

__all__ = [
    "Pick",
    "any_number",
    "check_rules",
    "plain_number",
    "random_application",
    "random_feature",
    "random_market",
    "seeded",
]

Pick = Callable[[int], int]  # pick(n) is one of 0 .. n - 1

_PLAIN = (0.5, 1.0, 2.0, -1.0, 3.0, 0.1, -0.25, 0.0)
_WINDOWS = (1, 2, 2, 3, 3, 4, 5, 8, 13, 40)
_WITH_NUMBERS = frozenset(
    {"+", "-", "*", "/", "**", "<", "<=", ">", ">=", "==", "!=", "&", "|", "minimum", "maximum", "where", "mask"}
)


def seeded(seed: int) -> Pick:
    """Picks that one seed determines."""
    rng = np.random.default_rng(seed)
    return lambda n: int(rng.integers(n))


def plain_number(pick: Pick) -> float:
    """A number that keeps results at their scale."""
    return _PLAIN[pick(len(_PLAIN))]


def any_number(pick: Pick) -> float:
    """Any double there is: subnormal, infinite, minus zero, NaN."""
    if pick(2):
        return plain_number(pick)
    (value,) = struct.unpack("<d", struct.pack("<II", pick(2**32), pick(2**32)))
    return float(value)


_RULES: Mapping[str, Callable[[Pick, Mapping[str, Any]], Any]] = {
    "window": lambda pick, _: _WINDOWS[pick(len(_WINDOWS))],
    "n": lambda pick, _: 1 + pick(9),
    "span": lambda pick, _: (1.0, 2.0, 5.5, 20.0)[pick(4)],
    "descending": lambda pick, _: bool(pick(2)),
    "every": lambda pick, _: ("week_end", "month_end", "day_end", 2, 5)[pick(5)],
    "how": lambda pick, _: WAYS[pick(len(WAYS))],
    "q": lambda pick, _: (0.0, 0.25, 0.5, 0.9, 1.0)[pick(5)],
    "limit": lambda pick, _: (None, 0, 1, 3)[pick(4)],
    "share": lambda pick, _: (0.05, 0.0, 0.2, 0.5)[pick(4)],
    "total": lambda pick, _: (1.0, 2.0, 0.3)[pick(3)],
    "band": lambda pick, _: (0.0, 0.01, 0.2)[pick(3)],
    "covariance": lambda pick, _: ESTIMATORS[pick(len(ESTIMATORS))],
    "risk_aversion": lambda pick, _: (1.0, 5.0)[pick(2)],
    "long_only": lambda pick, _: bool(pick(2)),
    "max_weight": lambda pick, _: (None, 0.3)[pick(2)],
    "max_group": lambda pick, _: (None, 0.5)[pick(2)],
    "turnover": lambda pick, _: (None, 0.2)[pick(2)],
    "gross": lambda pick, _: (None, 1.0)[pick(2)],
    "net": lambda pick, _: (None, 0.0)[pick(2)],
    "infeasible": lambda pick, _: ("error", "keep")[pick(2)],
}


def check_rules() -> None:
    """Raises: InputError if a setting of the table has no rule."""
    for name in SETTINGS:
        users = [op.name for op in OPERATORS.values() if name in op.settings and not op.coded]
        if name not in _RULES and (users or not any(name in op.settings for op in OPERATORS.values())):
            raise InputError(
                f"The setting {name!r} of {', '.join(users) or 'no operator'} has no rule in "
                f"{__name__}: add to _RULES how a valid value is drawn, so that random expressions contain it."
            )


def random_feature(
    pick: Pick, market: Market, *, depth: int = 6, number: Callable[[Pick], float] = plain_number
) -> Feature:
    """An expression of at most `depth` operators on the way to a field; some parts are used twice.

    Args:
        pick: where chance comes from: `seeded`, or draws of Hypothesis.
        market: its fields are the leaves.
        depth: of the graph; what parts assets into two groups is not counted.
        number: draws the plain numbers.
    """
    made: list[list[Feature]] = [[getattr(market, name) for name in market.panels]]
    made += [[] for _ in range(depth)]

    def grow(left: int) -> Feature:
        if left == 0 or (left < depth and pick(6) == 0):
            return made[0][pick(len(made[0]))]
        known = made[1 + pick(left)]
        if known and pick(4) == 3:
            return known[pick(len(known))]
        family = _FAMILIES[pick(len(_FAMILIES))]
        feature = _application(pick, family[pick(len(family))], lambda: grow(left - 1), number)
        made[left].append(feature)
        return feature

    return grow(depth)


def random_market(seed: int, *, n_bars: int, n_assets: int) -> Market:
    """Prices, ties, group numbers; assets that begin late or end early, single gaps, sometimes infinities, a universe.

    Fields: ``a`` moves like a price, ``b`` is normal, ``c`` holds few whole numbers, some of them missing; half have a
    ``universe``. Rows are business days, half of them sessions of XNYS.
    """
    rng = np.random.default_rng(seed)
    shape = (n_bars, n_assets)
    panels = {
        "a": 50 * np.exp(np.cumsum(rng.normal(scale=0.02, size=shape), axis=0)),
        "b": rng.normal(size=shape),
        "c": rng.integers(-2, 3, size=shape).astype(float),
    }
    row = np.arange(n_bars)[:, None]
    late = row < rng.integers(0, n_bars // 3 + 1, n_assets) * (rng.random(n_assets) < 0.3)
    early = row >= n_bars - rng.integers(0, n_bars // 3 + 1, n_assets) * (rng.random(n_assets) < 0.2)
    for panel in panels.values():
        panel[late | early | (rng.random(shape) < 0.01)] = np.nan
    panels["c"][rng.random(shape) < 0.05] = np.nan
    panels["b"][rng.random(shape) < 0.05] = 0.0
    if seed % 5 == 4:
        for panel in panels.values():
            hit = rng.random(shape) < 0.02
            panel[hit] = rng.choice([np.inf, -np.inf], size=int(hit.sum()))
    if seed % 2:
        panels["universe"] = (rng.random(shape) < 0.85).astype(float)
    exchange = "XNYS" if seed % 4 < 2 else None
    first = np.datetime64("2019-11-04") + int(rng.integers(300))
    if exchange is None:
        days = np.busday_offset(first, np.arange(n_bars), roll="forward")
        times = days.astype("datetime64[ns]").astype(np.int64)
    else:
        clock = calendar(exchange)
        times = clock.closes(clock.sessions(first, first + 2 * n_bars + 10)[:n_bars])
    names = tuple(f"A{j}" for j in range(n_assets))
    return Market.build(times=times, assets=names, panels=panels, calendar=exchange)


def random_application(pick: Pick, op: str, market: Market, number: Callable[[Pick], float] = plain_number) -> Feature:
    """One operator with drawn settings, on fields."""
    fields = [getattr(market, name) for name in market.panels]
    return _application(pick, OPERATORS[op], lambda: fields[pick(len(fields))], number)


def _application(pick: Pick, op: Operator, operand: Callable[[], Feature], number: Callable[[Pick], float]) -> Feature:
    n_inputs = op.arity + (pick(3) if op.variadic else 0)
    operands: list[Feature | float] = [operand() for _ in range(n_inputs)]
    if op.name in _WITH_NUMBERS and pick(3) == 0:
        operands[pick(n_inputs)] = number(pick)
    if op.name.startswith("group_"):
        operands[1] = _codes(pick, operands[1])
    settings: dict[str, Any] = {}
    for name in op.settings:
        settings[name] = _RULES[name](pick, settings)
    if op.clock == "ends" or (op.clock is None and op.start is not None and pick(5) == 4):
        settings["every"] = _RULES["every"](pick, settings)
    return apply(op.name, *operands, clock=day_node() if op.clock == "day" else None, **settings)


def _codes(pick: Pick, drawn: Any) -> Feature:
    """A field, or two groups of many. Computed values as codes would be parted by the last bit of their rounding."""
    market = drawn.market
    names = list(market.panels)
    return apply(">", drawn, 0.5) if pick(2) else getattr(market, names[pick(len(names))])


def _family(wanted: Callable[[Operator], bool]) -> tuple[Operator, ...]:
    return tuple(op for op in OPERATORS.values() if wanted(op) and op.name != "members" and op.drawn and not op.coded)


# a market with a universe puts `members` in by itself
_FAMILIES = tuple(
    family
    for family in (
        _family(lambda op: op.start is None and not op.across and op.name in _WITH_NUMBERS),
        _family(lambda op: op.start is None and not op.across and op.name not in _WITH_NUMBERS),
        _family(lambda op: op.start is not None),
        _family(lambda op: op.start is not None),  # twice as often; those of two inputs apart would leave mostly NaN
        _family(lambda op: op.across and op.arity == 1),
        _family(lambda op: op.across and op.arity > 1),
    )
    if family
)
