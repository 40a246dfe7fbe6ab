"""Signals with stops, targets and trails in random markets that hold everything at once, against the slow ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backtest.random_markets import Case, cases, preset_accounts, under
from tests.kernels.test_actions import Orders, parted
from tests.kernels.test_ledger import check_against

import knowable as kn
from knowable.backtest.by_signals import simulate_signals
from knowable.backtest.reasons import REASONS
from knowable.backtest.signals import signal_panels
from knowable.errors import InputError
from knowable.kernels import account as codes

COMMON = settings(max_examples=settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = {"entry": "enter long", "exit": "leave long", "short_entry": "enter short", "short_exit": "leave short"}
LEVELS = ("stop", "target", "trail")


@dataclass(frozen=True)
class Said(Case):
    """A case, and what signals say: name -> (n_bars, n_assets)."""

    said: dict[str, np.ndarray]


@st.composite
def scenarios(draw):
    """See `Said`. Levels lie near, so that many are met; some sizes are above the limit where that is an error."""
    case = draw(cases())
    rng, shape = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), case.weights.shape
    said = {}
    for name in WORDS:
        said[name] = np.where(rng.random(shape) < draw(st.sampled_from([0.0, 0.15, 0.4])), 1.0, 0.0)
        said[name][rng.random(shape) < 0.05] = np.nan
    said["size"] = rng.uniform(*draw(st.sampled_from([(0.1, 0.5), (0.9, 1.0), (0.1, 2.0)])), shape)
    for name in LEVELS:
        there = rng.random(shape) < draw(st.sampled_from([0.0, 0.5, 1.0]))
        said[name] = np.where(there, rng.uniform(0.005, 0.1, shape), np.nan)
    account = replace(case.account, leverage_check=draw(st.sampled_from(["scale", "scale", "strict"])))
    return Said(**{**vars(case), "account": account}, said=said)


def slowly(case):
    slow, account = case.slow_account()
    n_bars, n_assets = case.weights.shape
    cells = [(t, j) for t in range(n_bars) for j in range(n_assets)]
    words = {(t, j): frozenset(w for name, w in WORDS.items() if case.said[name][t, j] == 1.0) for t, j in cells}
    levels = {(t, j): tuple(float(case.said[name][t, j]) for name in LEVELS) for t, j in cells}
    rows = [[[panel[t, j] for j in range(n_assets)] for t in range(n_bars)] for panel in (words, levels)]
    return slow.run_signals(rows[0], case.decide.tolist(), case.said["size"].tolist(), rows[1], account, **case.span)


def fast(case):
    panels = signal_panels(case.said, kn.Strategy(), case.market, case.decide)
    return simulate_signals(panels, case.market, case.account, name="", params={}, **case.span).record


def check(case):
    want = slowly(case)
    if want.refused_at is not None:
        with pytest.raises(InputError, match=rf"row {case.start + want.refused_at} "):
            fast(case)
        return
    got = fast(case)
    check_against(Orders(got), want)
    assert [
        (int(r[codes.ORDER_FILLED]), int(r[codes.ORDER_ASSET]), REASONS[int(r[codes.ORDER_REASON])],
         r[codes.ORDER_SIZE], r[codes.ORDER_WANTED])
        for r in parted(got)[1]
    ] == [(f.row, f.asset, f.kind, f.shares, f.cash) for f in want.flows]  # fmt: skip


@given(scenarios())
@COMMON
def test_signals_agree_with_the_slow_ledger_to_the_last_bit(case):
    check(case)


@given(scenarios(), preset_accounts())
@settings(COMMON, max_examples=settings().max_examples // 2)
def test_signals_under_the_presets_of_other_engines_agree_with_the_slow_ledger(case, account):
    check(under(case, account))


@pytest.mark.slow
@given(scenarios())
@settings(COMMON, max_examples=500)
def test_hundreds_of_signals_agree_with_the_slow_ledger_to_the_last_bit(case):
    check(case)
