"""What stands beside the bars of a market, as known at each decision: facts, windows, events, what held when."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from knowable.calendars import Nanos
from knowable.data.asof.facts import Facts, Panel
from knowable.data.corporate.membership import make_members
from knowable.data.names import check_field_name
from knowable.data.schema import lag_ns
from knowable.errors import DataError, InputError, shown, unknown_name

if TYPE_CHECKING:
    from knowable.data.asof.assemble import Loaded

__all__ = ["Trailing", "beside_panels", "refuse_strangers", "strangers"]

_REDUCTIONS = ("sum", "mean", "min", "max", "first", "last")


@dataclass(frozen=True, slots=True)
class Trailing:
    """The last k periods of a field as known at each decision, such as the earnings of the trailing four quarters:
    ``Trailing("fundamentals", "eps", k=4, reduce="sum", name="eps_ttm")``. A restated quarter counts as restated.

    Attributes:
        dataset: of facts.
        field: a number field of it.
        k: periods, >= 1.
        reduce: ``"sum"``, ``"mean"``, ``"min"``, ``"max"``, ``"first"`` or ``"last"`` of them.
        within: a window whose first and last period lie further apart is NaN, such as ``"290d"`` for four quarters.
        name: of the panel; ``eps_sum4`` where None.
    """

    dataset: str
    field: str
    k: int
    reduce: str = "sum"
    within: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise InputError(f"`k >= 1` periods must hold in Trailing, but k={shown(self.k)}.")
        if self.reduce not in _REDUCTIONS:
            raise unknown_name("reduction", self.reduce, _REDUCTIONS, where="Trailing")
        if self.within is not None:
            lag_ns(self.within)
        check_field_name(self.panel)

    @property
    def panel(self) -> str:
        """Name of its panel."""
        return f"{self.field}_{self.reduce}{self.k}" if self.name is None else self.name


def beside_panels(
    also: Sequence[tuple[Loaded, Trailing | None]], taken: Collection[str], decision: Nanos, names: Sequence[str]
) -> dict[str, Panel]:
    """Panels of other datasets on the clock of a market.

    Args:
        also: datasets, each whole or by one trailing window.
        taken: names of other panels; a field of that name gets its dataset's name before it.
        decision: (n_bars,) int64 ns UTC.
        names: assets.

    Returns: name -> (n_bars, n_assets) float64, read-only: of facts each number field; of events their number since
        the decision before as ``n_<dataset>`` and each number field of the newest on bars that saw one, NaN in the
        first row; of intervals ``in_<dataset>``, 1 where one holds and 0 elsewhere. All known by decision[t].

    Raises: InputError for a dataset of another kind, or keys that leave open which value is meant.
    """
    panels: dict[str, Panel] = {}
    for item, window in also:
        for name, values in _panels(item, window, decision, names).items():
            free = f"{item.name}_{name}" if name in taken or name in panels else name
            if free in taken or free in panels:
                raise InputError(f"Two panels of the market would be called {free!r}; give one another name= .")
            panels[free] = values
    return panels


def strangers(also: Sequence[tuple[Loaded, Trailing | None]], names: Collection[str]) -> list[Loaded]:
    """Those of the datasets that concern none of the assets."""
    return [item for item, _ in also if not set(names) & set(item.facts.entities)]


def refuse_strangers(also: Sequence[tuple[Loaded, Trailing | None]], names: Collection[str]) -> None:
    """Raises: DataError if one of the datasets concerns none of the assets."""
    for item in strangers(also, names):
        raise DataError(
            f"{item.schema.kind.capitalize()} of {item.name!r} concern none of the {len(names)} assets (they "
            f"concern {shown(list(item.facts.entities), 120)}).\nRead them apart: store.panel({item.name!r}, "
            "field, clock=market.decision_times, entities=[...])."
        )


def _panels(item: Loaded, window: Trailing | None, decision: Nanos, names: Sequence[str]) -> dict[str, Panel]:
    kind, facts = item.schema.kind, item.facts
    if window is not None and kind != "facts":
        raise InputError(f"Trailing takes a dataset of facts, but {item.name!r} holds {kind}.")
    if kind == "intervals":
        held = make_members(facts, item.schema, None, item.name).panel(decision, names)
        return {f"in_{item.name}": _lock(held.astype(np.float64))}
    if kind not in ("facts", "events"):
        raise InputError(f"`also` takes datasets of facts, events or intervals, but {item.name!r} holds {kind}.")
    if kind == "facts" and item.schema.keys:
        raise InputError(
            f"Facts of {item.name!r} are told apart by {', '.join(item.schema.keys)}, so an asset has several.\n"
            "Keep one a dataset, or read the ones meant: store.read(...), and add them with market.with_panels."
        )
    if window is not None:
        if window.field not in item.schema.numeric:
            raise unknown_name("number field", window.field, item.schema.numeric, where=f"dataset {item.name!r}")
        within = None if window.within is None else lag_ns(window.within)
        return {
            window.panel: facts.window(window.field, window.k, decision, names, reduce=window.reduce, within=within)
        }
    panels = {name: facts.panel(name, decision, names) for name in item.schema.numeric}
    return panels if kind == "facts" else _events(item.name, facts, panels, decision, names)


def _events(
    dataset: str, facts: Facts, newest: Mapping[str, Panel], decision: Nanos, names: Sequence[str]
) -> dict[str, Panel]:
    """How many events each bar saw, and the newest one's values on bars that saw any."""
    asserts = np.flatnonzero(~facts.retracts)
    _, earliest = np.unique(facts.period[asserts], return_index=True)  # an entity's facts are in order of known time
    first = asserts[earliest]
    row = np.searchsorted(decision, facts.known[first])
    column = facts.columns_of(names)[facts.owner[facts.period[first]]]
    inside = (column >= 0) & (row < len(decision))
    count = np.zeros((len(decision), len(names)))
    np.add.at(count, (row[inside], column[inside]), 1.0)
    count[:1] = np.nan  # since when, nobody can say
    saw = count > 0
    return {f"n_{dataset}": _lock(count), **{k: _lock(np.where(saw, v, np.nan)) for k, v in newest.items()}}


def _lock(panel: Panel) -> Panel:
    panel.flags.writeable = False
    return panel
