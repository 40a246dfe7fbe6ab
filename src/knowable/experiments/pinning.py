"""A run says in each store which versions it read, so that retention keeps them for whoever repeats it."""

from __future__ import annotations

from pathlib import Path

from knowable.data.market import Market
from knowable.data.store import Store
from knowable.errors import KnowableError

__all__ = ["pin_sources"]


def pin_sources(market: Market, run: Path) -> list[str]:
    """Pin the versions a market was read from; again changes nothing.

    Args:
        market: of the run; its pins name store, dataset, version and table. Frames handed in have none.
        run: its folder.

    Returns: a sentence for each version that could not be pinned. A run never fails for that: its market is kept beside
        it, so it can be resumed all the same.
    """
    remarks = []
    for pin in market.pins:
        if "store" not in pin:
            continue
        try:
            problem = _pin(pin["store"], pin["dataset"], int(pin["version"]), pin["table"], run.name)
        except (KnowableError, OSError) as error:
            problem = str(error).splitlines()[0]
        if problem:
            remarks.append(
                f"Version {pin['version']} of {pin['dataset']!r} in {pin['store']} is not pinned for this run, so that "
                f"retention may drop it: {problem}"
            )
    return remarks


def _pin(where: str, dataset: str, version: int, table: str, run: str) -> str | None:
    if "://" in where:
        return f"credentials are not kept with a run. Say store.pin({dataset!r}, {version}, by='run {run}')."
    if not Path(where).is_dir():
        return "the store is not there any more."
    store = Store(where)
    if dataset not in store.datasets():
        return "the dataset is not there any more."
    if store.pin(dataset, version, by=f"run {run}").table == table:
        return None
    store.unpin(dataset, version, by=f"run {run}")
    return "the dataset was made anew since."
