"""The as-of panel: ours, Polars, the sweep a person would write by hand, and a copy of the result.

2,500 days x 500 names from 64,500 facts. The facts are synthetic and say so: 43 quarters a name, each published once,
amended once and restated once, some of the restatements long after newer quarters are out. Run as
``python -m benchmarks.asof``; ratios are times of the peer over ours, measured in one run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from benchmarks.timing import best
from knowable.data.asof.facts import make_facts

DAY_US = 86_400_000_000
N_DAYS, N_NAMES, N_QUARTERS = 2_500, 500, 43


def synthetic_facts(seed: int = 0) -> pa.Table:
    """64,500 rows in no order: entity, event_time, known_time, revision, op, x."""
    rng = np.random.default_rng(seed)
    entity, quarter, version = (
        grid.ravel() for grid in np.meshgrid(np.arange(N_NAMES), np.arange(N_QUARTERS), np.arange(3), indexing="ij")
    )
    event = quarter * 91 * DAY_US
    delay = np.choose(version, [20, 45, 80]) + rng.integers(0, 20, entity.size)
    delay += np.where((version == 2) & (rng.random(entity.size) < 0.3), 300, 0)  # late: newer quarters are out by then
    known = event + delay * DAY_US + rng.integers(0, DAY_US, entity.size)
    shuffled = rng.permutation(entity.size)
    return pa.table(
        {
            "entity": pa.array(
                np.array([f"E{k:03d}" for k in range(N_NAMES)], dtype=object)[entity[shuffled]], pa.string()
            ),
            "event_time": pa.array(event[shuffled]).cast(pa.timestamp("us", "UTC")),
            "known_time": pa.array(known[shuffled]).cast(pa.timestamp("us", "UTC")),
            "revision": np.zeros(entity.size, np.int64),
            "op": pa.array(["assert"] * entity.size),
            "x": rng.normal(size=entity.size),
        }
    )


@njit(cache=True)
def limit_kernel(clock, known, entity, event, value, newest, row, out):
    """The least that gives the right panel where nothing is retracted; no validation, no state to resume from."""
    i = 0
    for t in range(clock.shape[0]):
        while i < known.shape[0] and known[i] <= clock[t]:
            e = entity[i]
            if event[i] >= newest[e]:
                newest[e] = event[i]
                row[e] = value[i]
            i += 1
        for j in range(row.shape[0]):
            out[t, j] = row[j]


def polars_panel(table: pa.Table, clock: pl.DataFrame, *, right: bool) -> pl.DataFrame:
    """join_asof by name. `right` first drops late restatements of older quarters; without it the panel is wrong."""
    facts = pl.DataFrame(table).sort("known_time")
    if right:
        facts = facts.filter(pl.col("event_time") == pl.col("event_time").cum_max().over("entity"))
    return clock.join_asof(facts.select("entity", "known_time", "x"), left_on="t", right_on="known_time", by="entity",
                           check_sortedness=False)  # fmt: skip


def run(repeats: int = 7) -> list[dict[str, Any]]:
    """Each case: ours and the peer in milliseconds, ratio = peer / ours, and whether the peer's panel is right."""
    table = synthetic_facts()
    clock = (np.arange(N_DAYS, dtype=np.int64) * N_QUARTERS * 91 // N_DAYS + 60) * DAY_US * 1000
    facts = make_facts(table)
    names = facts.entities
    panel = facts.panel("x", clock, names)
    times = pl.Series("t", clock // 1000).cast(pl.Datetime("us", "UTC"))
    grid = pl.DataFrame(times).join(pl.DataFrame({"entity": list(names)}), how="cross").sort("t", maintain_order=True)

    in_time = np.argsort(facts.known, kind="stable")  # the hand-written sweep goes through all facts by known time
    known, event, value = facts.known[in_time], facts.event[in_time], facts.values("x")[in_time]
    entity = facts.owner[facts.period][in_time]
    out = np.empty((N_DAYS, N_NAMES))

    def by_hand() -> np.ndarray:
        newest, row = np.full(N_NAMES, np.iinfo(np.int64).min), np.full(N_NAMES, np.nan)
        limit_kernel(clock, known, entity, event, value, newest, row, fresh := np.empty_like(out))
        return fresh

    def wide(joined: pl.DataFrame) -> np.ndarray:
        return joined["x"].to_numpy().reshape(N_DAYS, N_NAMES)

    np.testing.assert_array_equal(by_hand(), panel)
    np.testing.assert_array_equal(wide(polars_panel(table, grid, right=True)), panel)
    plain = wide(polars_panel(table, grid, right=False))
    differing = float((~((plain == panel) | (np.isnan(plain) & np.isnan(panel)))).mean())

    sweep = 1e3 * best(lambda: facts.panel("x", clock, names), repeats)
    whole = 1e3 * best(lambda: make_facts(table).panel("x", clock, names), repeats)
    right = 1e3 * best(lambda: polars_panel(table, grid, right=True), repeats)
    wrong = 1e3 * best(lambda: polars_panel(table, grid, right=False), repeats)
    peers = [
        ("facts sorted in memory", sweep, "hand-written sweep", 1e3 * best(by_hand, repeats), True),
        ("facts sorted in memory", sweep, "copy of the panel", 1e3 * best(panel.copy, repeats), True),
        ("facts as stored", whole, "polars, made right", right, True),
        ("facts as stored", whole, "polars, plain join_asof", wrong, False),
    ]
    return [
        {
            "case": case,
            "ours": ours,
            "peer": peer,
            "peer_name": name,
            "ratio": peer / ours,
            "unit": "ms",
            "peer_is_right": is_right,
            "cells_wrong": 0.0 if is_right else differing,
        }
        for case, ours, name, peer, is_right in peers
    ]


def main() -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    rows = run(arguments.repeats)
    print(f"{N_DAYS:,} days x {N_NAMES} names, {N_NAMES * N_QUARTERS * 3:,} synthetic revised facts")
    for row in rows:
        wrong = "" if row["peer_is_right"] else f"  ({row['cells_wrong']:.1%} of its cells are wrong)"
        print(f"{row['case']:24s} ours {row['ours']:7.2f} ms  {row['peer_name']:24s} {row['peer']:7.2f} ms"
              f"  ratio {row['ratio']:6.2f}{wrong}")  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
