"""Random expressions of the whole language: the same bits by every way of computing them, and those of slow oracles.

What is drawn comes from the operator table, so an operator that joins it is under these laws from then on; one without
an oracle, or with a setting nobody can draw, fails by name.

How close is equal. Each operator is held against its oracle on the very inputs its kernel had, so that nothing has to
be allowed for what happened before: 1e-9 of the value, or of what `scale_of` says where the value is a difference that
cancels. By induction that holds for the whole expression. The whole expression is compared end to end too; there a
comparison of two nearly equal values may fall either way, and a quotient of two small differences may have no digit
left. Which cells that are is measured on the oracle alone: every operator's result that is no whole number is changed
by up to one part in 1e11, as rounding does by one in 1e16, and a cell that then changes by more than one part in 1e6
of its scale is ill-conditioned and left out. Their share is bounded.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import random
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from knowable import features as f
from knowable.data.market import Market
from knowable.features.node import CLOCKS, Node, topological
from knowable.features.operators import OPERATORS
from knowable.features.program import Program
from knowable.testing.clock_oracle import SlowClock
from knowable.testing.exact import Panel
from knowable.testing.expression_oracle import check_oracles, slow_step, slow_values
from knowable.testing.random_expressions import (
    check_rules,
    random_application,
    random_feature,
    random_market,
    seeded,
)

JOBS = Path(__file__).with_name("random_jobs.py")
BLOCK = 25
QUICK = range(4)  # blocks: 100 expressions
MANY = range(6, 46)  # 1,000 others
BLOCKS = [*QUICK, *[pytest.param(block, marks=pytest.mark.slow) for block in MANY]]
SHAPES = [(1, 1), (3, 2), (30, 3), (60, 7), (90, 12), (250, 4), (120, 1)]
SMALL = (24, 3)
# models and portfolios have laws of their own
DRAWN = [name for name, row in OPERATORS.items() if row.drawn and not row.coded]
# sums of a row, and what is left of a regression: rounded by the size of what is added, whatever comes out
SHAKES = (1e-11, -1e-11, 3e-12, -3e-12, 0.0)
SCORES = ("zscore", "group_zscore", "ts_zscore", "skew", "corr", "beta", "r2")
SUMS = ("cross_sum", "cross_mean", "group_sum", "group_mean", "neutralize")
NOT_OPERATORS = ("field", "number", *CLOCKS)


@functools.cache
def market_of(seed: int, n_bars: int, n_assets: int) -> Market:
    return random_market(seed, n_bars=n_bars, n_assets=n_assets)


def case(seed: int, shape: tuple[int, int] | None = None) -> f.Feature:
    n_bars, n_assets = shape or SHAPES[seed % len(SHAPES)]
    return random_feature(seeded(seed), market_of(seed % 20, n_bars, n_assets))


def seeds(block: int) -> range:
    return range(block * BLOCK, (block + 1) * BLOCK)


def said(seed: int, feature: f.Feature) -> str:
    return f"seed {seed}, {feature.market.shape}: {feature.text()}"


def fed(stepper: f.Stepper, market: Market, edges: list[int]) -> Panel:
    """Rows of pieces between edges; a piece of one bar is stepped."""
    rows = [np.empty((0, market.n_assets))]
    for first, last in pairwise(edges):
        if last - first == 1:
            bar = {name: panel[first] for name, panel in market.panels.items()}
            rows.append(stepper.step({**bar, "time": market.times[first]})[None])
        else:
            panels = {name: panel[first:last] for name, panel in market.panels.items()}
            rows.append(stepper.feed(panels, market.times[first:last]))
    return np.concatenate(rows)


def assert_same_bits(got: Panel, batch: Panel, what: str) -> None:
    same = got.view(np.uint64) == batch.view(np.uint64)
    if not same.all():
        row, column = np.argwhere(~same)[0]
        raise AssertionError(
            f"{what}\n{int((~same).sum())} of {same.size} cells have other bits, the first in row {row}, column "
            f"{column}: {got[row, column]!r}, where the batch has {batch[row, column]!r}"
        )


def assert_ways_agree(feature: f.Feature, rng: random.Random, what: str) -> None:
    """Batch, bar by bar, random pieces (the state too), and a restore into a stepper of the text that was read back."""
    market, batch = feature.market, feature.values()
    n = market.n_bars
    by_bars, by_pieces = feature.stepper(), feature.stepper()
    assert_same_bits(fed(by_bars, market, list(range(n + 1))), batch, f"bar by bar, {what}")
    cuts = sorted(rng.choices(range(n + 1), k=rng.randrange(1, 6)))
    assert_same_bits(fed(by_pieces, market, [0, *cuts, n]), batch, f"in pieces {cuts}, {what}")
    assert by_bars.state() == by_pieces.state(), f"the same bars leave different states, {what}"
    again, before = market.expression(feature.text()), feature.stepper()
    assert again.node is feature.node
    stop = rng.randrange(n + 1)
    early = fed(before, market, [0, stop] if rng.random() < 0.5 else list(range(stop + 1)))
    after = again.stepper()
    after.restore(before.state())
    late = fed(after, market, [stop, n] if rng.random() < 0.5 else list(range(stop, n + 1)))
    assert_same_bits(np.concatenate([early, late]), batch, f"restored after {stop} bars, {what}")


def test_the_table_can_be_drawn_and_has_oracles() -> None:
    check_rules()
    check_oracles()
    drawn = {node.op for seed in range(1_000) for node in topological(case(seed, SMALL).node)}
    missing = set(DRAWN) - drawn
    assert not missing, f"random expressions never hold {missing}: give them a family in knowable.testing"


def test_many_expressions_have_values_so_that_the_laws_say_something() -> None:
    shares = [np.isfinite(case(seed, SMALL).values()).mean() for seed in range(150)]
    assert np.mean(shares) > 0.35
    assert np.mean(np.array(shares) > 0.25) > 0.5


@pytest.mark.parametrize("block", BLOCKS)
def test_batch_bars_pieces_and_a_restored_state_have_the_same_bits(block: int) -> None:
    for seed in seeds(block):
        feature = case(seed)
        assert_ways_agree(feature, random.Random(seed), said(seed, feature))


@pytest.mark.parametrize("op", DRAWN)
def test_each_operator_alone_obeys_the_laws(op: str) -> None:
    """With infinities in a tenth of the cells, and every NaN that comes out the one there is."""
    for seed in range(8):
        market = market_of(seed + (seed % 2) * 2, 40, 5) if seed % 3 else infinite_market(seed)
        feature = random_application(seeded(seed), op, market)
        assert_ways_agree(feature, random.Random(seed), said(seed, feature))
        values = feature.values()
        bits = set(values[np.isnan(values)].view(np.uint64).tolist())
        assert bits <= {np.array(np.nan).view(np.uint64).item()}, (
            f"{op} gives a NaN that is not np.nan, whose bits depend on processor and place: end its kernel with "
            f"`made if made == made else np.nan`. {said(seed, feature)}"
        )


@functools.cache
def infinite_market(seed: int) -> Market:
    rng = np.random.default_rng(seed)
    panels = {name: rng.integers(-3, 4, (40, 5)).astype(float) for name in "abc"}
    for panel in panels.values():
        panel[rng.random(panel.shape) < 0.05] = np.inf
        panel[rng.random(panel.shape) < 0.05] = -np.inf
        panel[rng.random(panel.shape) < 0.1] = np.nan
        panel[rng.random(panel.shape) < 0.02] = 1e308
    return market_of(seed, 40, 5).build(
        times=market_of(seed, 40, 5).times, assets=market_of(seed, 40, 5).assets, panels=panels
    )


def killed_and_ended(folder: Path, features: list[f.Feature]) -> list[str]:
    """Step some bars here, more in a process that is killed, the rest in another; the hashes of its batches."""
    sys.path.insert(0, str(JOBS.parent))
    try:
        import random_jobs
    finally:
        sys.path.pop(0)
    rng = random.Random(len(features))
    jobs, saved = [], {}
    for k, feature in enumerate(features):
        if id(feature.market) not in saved:
            saved[id(feature.market)] = feature.market.save(folder / f"market-{len(saved)}").name
        jobs.append({"text": feature.text(), "market": saved[id(feature.market)]})
        stepper, nothing = feature.stepper(), np.empty((0, feature.market.n_assets))
        rows = random_jobs.go_on(stepper, feature.market, nothing, rng.randrange(feature.market.n_bars + 1), rng)
        random_jobs.save(folder, k, stepper.state(), rows)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with subprocess.Popen([sys.executable, str(JOBS), str(folder), "step"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(len(features) + rng.randrange(len(features))):
            assert child.stdout.readline(), "the process that steps ended by itself"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    subprocess.run([sys.executable, str(JOBS), str(folder), "end"], check=True, stdout=subprocess.DEVNULL)
    for k, feature in enumerate(features):
        _, rows = random_jobs.load(folder, k)
        assert_same_bits(rows, feature.values(), f"killed and restored, {said(k, feature)}")
    return list(json.loads((folder / "batch.json").read_text()))


@pytest.mark.parametrize("n", [50, pytest.param(1_000, marks=pytest.mark.slow)])
def test_stepped_killed_and_restored_elsewhere_and_the_batch_of_another_process(tmp_path: Path, n: int) -> None:
    features = [case(seed) for seed in (range(n) if n == 100 else range(150, 150 + n))]
    batches = killed_and_ended(tmp_path, features)
    for seed, (feature, batch) in enumerate(zip(features, batches, strict=True)):
        mine = hashlib.sha256(feature.values().tobytes()).hexdigest()
        assert batch == mine, f"another process has other bits, {said(seed, feature)}"


# --- held against slow oracles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS)
def test_each_operator_of_an_expression_agrees_with_its_oracle_on_its_inputs(block: int) -> None:
    compared = left_out = 0
    for seed in seeds(block):
        feature = case(seed, SMALL)
        clock, values = SlowClock(feature.market), {}
        for each in topological(feature.node):
            if each.op in CLOCKS:
                continue
            values[each] = number(each) if each.scalar else Program(each).evaluate(feature.market)
            if each.op not in NOT_OPERATORS:
                n_cells, n_left = assert_step_agrees(each, values, feature, clock, said(seed, feature))
                compared, left_out = compared + n_cells, left_out + n_left
    assert left_out < 0.03 * compared


def number(each: Node) -> Panel:
    return np.full(SMALL, each.settings[0], dtype=float)


def assert_step_agrees(
    each: Node, values: dict[Node, Panel], feature: f.Feature, clock: SlowClock, what: str
) -> tuple[int, int]:
    """Cells compared, and cells left out because their oracle has no answer for an infinity across assets."""
    panels = feature.market.panels
    inputs = [values[below] for below in each.inputs if below.op not in CLOCKS]
    rows = np.ones(len(values[each]), dtype=bool)
    if each.op == "members":
        wanted = np.where(inputs[1] == 1.0, inputs[0], np.nan)
    else:
        if OPERATORS[each.op].across:
            rows = ~np.isinf(inputs).any(axis=(0, 2))
        chosen = {name: panel[rows] for name, panel in panels.items()}
        wanted = slow_step(each, [panel[rows] for panel in inputs], chosen, clock) if rows.any() else np.empty((0, 3))
    scale = scale_of(wanted, inputs[0][rows] if each.op in SUMS else None)
    if each.op in SCORES:
        scale = np.maximum(scale, 1.0)
    elif each.op in ("resid", "cov"):  # what varies is multiplied, and may cancel
        factors = inputs[:1] if each.op == "resid" else inputs
        scale = np.maximum(scale, math.prod(spread_of(each) for each in factors))
    assert_close(values[each][rows], wanted, scale, f"`{each!r}` in {what}")
    return values[each].size, int((~rows).sum()) * SMALL[1]


def assert_close(got: Panel, wanted: Panel, scale: Panel, what: str) -> None:
    assert (np.isnan(got) == np.isnan(wanted)).all(), f"missing values differ: {what}\n{got}\n{wanted}"
    with np.errstate(all="ignore"):
        far = ~((got == wanted) | np.isnan(wanted) | (np.abs(got - wanted) <= 1e-9 * scale))
    if far.any():
        row, column = np.argwhere(far)[0]
        raise AssertionError(
            f"{int(far.sum())} cells differ, the first in row {row}, column {column}: {got[row, column]!r}, but its "
            f"definition gives {wanted[row, column]!r}: {what}"
        )


def scale_of(wanted: Panel, summed: Panel | None = None) -> Panel:
    """What an error is measured by: the value, the typical value, or all that was added up in the row, if larger."""
    size = np.abs(np.where(np.isfinite(wanted), wanted, 0.0))
    scale = np.maximum(size, np.median(size[size > 0]) if (size > 0).any() else 0.0)
    if summed is None:
        return scale
    return np.maximum(scale, np.abs(np.where(np.isfinite(summed), summed, 0.0)).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("block", BLOCKS)
def test_whole_expressions_agree_with_the_oracle_where_they_are_well_conditioned(block: int) -> None:
    n_cells = n_left = 0
    for seed in seeds(block):
        feature = case(seed, SMALL)
        if any(np.isinf(panel).any() for panel in feature.market.panels.values()):
            continue  # exact fractions hold no infinity across assets; each operator is tried on them above
        clock, panels = SlowClock(feature.market), dict(feature.market.panels)
        try:
            wanted = slow_values(feature.node, panels, clock)
            nudged = [shaken(feature.node, panels, clock, seed, size) for size in SHAKES]
        except (OverflowError, ValueError):
            continue  # an infinity that the expression made itself
        scale = scale_of(wanted)
        with np.errstate(all="ignore"):
            steady = np.ones(wanted.shape, dtype=bool)
            for other in nudged:
                alike = (other == wanted) | (np.abs(other - wanted) <= 1e-6 * scale)
                steady &= alike | (np.isnan(other) & np.isnan(wanted))
        got = np.where(steady, feature.values(), 0.0)
        assert_close(got, np.where(steady, wanted, 0.0), scale, said(seed, feature))
        n_cells, n_left = n_cells + steady.size, n_left + int((~steady).sum())
    assert n_left < 0.15 * n_cells


def shaken(root: Node, panels: dict[str, Panel], clock: SlowClock, seed: int, size: float) -> Panel:
    """The oracle's values where each operator's result is changed a little, each cell its own way.

    With `size` of the other sign each goes the other way, so that of two nearly equal values either comes first once.
    Where terms cancel, a 0 is changed too, since a kernel leaves a rounding there; with size 0 a rounding becomes 0.
    """
    rng, values = np.random.default_rng([seed, round(1 / abs(size)) if size else 0]), {}
    for each in topological(root):
        if each.op in CLOCKS:
            continue
        inputs = [values[below] for below in each.inputs if below.op not in CLOCKS]
        made = slow_step(each, inputs, panels, clock)
        noise = size * rng.uniform(-1, 1, made.shape)  # a smaller size is a draw of its own
        values[each] = np.where(inexact(made) | (each.op in SCORES), made * (1 + noise), made)
        if each.op in SCORES or (each.op in (*SUMS, "resid", "cov") and any(inexact(panel).any() for panel in inputs)):
            terms = 1.0 if each.op in SCORES else np.max(inputs, where=np.isfinite(inputs), initial=1e-300)
            values[each] = np.where(np.abs(made) < 1e-13 * terms, noise * terms, values[each])
    return values[root]


def spread_of(panel: Panel) -> float:
    known = panel[np.isfinite(panel)]
    return float(np.ptp(known)) if known.size else 0.0


def inexact(panel: Panel) -> Panel:
    return np.isfinite(panel) & (panel != np.round(panel))
