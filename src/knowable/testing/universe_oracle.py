"""Membership written slowly, straight from its sentences; the compiled sweeps are held against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Interval", "chosen", "is_member"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One observation: from when to when an entity is a member (no end: None), and when that became known."""

    entity: str
    start: int
    end: int | None
    known: int
    revision: int = 0
    retract: bool = False
    key: str = ""


def is_member(rows: Iterable[Interval], entity: str, now: int, key: str = "") -> bool:
    """Whether any interval of the entity that stands, of what is known now, holds now: start <= now < end.

    What stands for a start is the latest assertion not withdrawn, by known time, then revision; a retraction withdraws
    the latest standing one.
    """
    mine = [row for row in rows if row.entity == entity and row.key == key and row.known <= now]
    for start in {row.start for row in mine}:
        standing: list[Interval] = []
        about = [row for row in mine if row.start == start]
        for row in sorted(about, key=lambda r: (r.known, r.revision, r.retract)):
            standing = standing[:-1] if row.retract else [*standing, row]
        if standing and start <= now and (standing[-1].end is None or now < standing[-1].end):
            return True
    return False


def chosen(
    close: pd.DataFrame,
    value: pd.DataFrame,
    choose: Sequence[bool],
    *,
    n: int,
    window: int,
    min_history: int,
    min_price: float = 0.0,
    hold: int = 0,
    stale: int = 5,
    level: float = -np.inf,
    stay: float = -np.inf,
) -> pd.DataFrame:
    """Members on each bar, from scratch at each choice: pandas on the rows so far, nothing carried but who is in."""
    out = np.zeros(close.shape, dtype=bool)
    held: set[str] = set()
    for t in range(len(close)):
        known = {name: _known(close[name].iloc[: t + 1], value[name].iloc[: t + 1]) for name in close.columns}
        alive = {name for name, rows in known.items() if len(rows) and t - rows.index[-1] <= stale}
        held &= alive
        if choose[t]:
            size = {}
            for name in sorted(alive):
                rows = known[name]
                mean = rows["value"].tail(window).mean()
                fit = len(rows) >= min_history and rows["close"].iloc[-1] >= min_price
                if fit and mean >= (stay if name in held else level):
                    size[name] = mean
            ranked = sorted(size, key=lambda name: (-size[name], name))
            stayers = [name for name in ranked[: n + hold] if name in held][:n]
            others = [name for name in ranked if name not in stayers]
            held = {*stayers, *others[: n - len(stayers)]}
        out[t] = [name in held for name in close.columns]
    return pd.DataFrame(out, index=close.index, columns=close.columns)


def _known(close: pd.Series, value: pd.Series) -> pd.DataFrame:
    """The bars known of one name, by their row number."""
    return pd.DataFrame({"close": close.to_numpy(), "value": value.to_numpy()}).dropna()
