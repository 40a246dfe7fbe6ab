"""State and outside data in places that are no container and no table: put back, altered, or said to be unchecked."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import njit

import knowable as kn
from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import frame, mortal_market, zoo_market
from knowable.testing.zoo.hidden import HIDDEN
from knowable.validate.glance import glance
from knowable.validate.outside import altered

MARKET = zoo_market(0, n_bars=100, n_assets=3)
CLOSE = MARKET.panel("close")
CUT = 60


@dataclass(slots=True)
class Box:
    mean: Any = None


class Row(NamedTuple):
    name: str
    rows: Any


BOX, FULL_BOX = Box(), Box(CLOSE.copy())
FROZEN = CLOSE.copy()


@njit
def ahead(n_bars):
    return FROZEN[:n_bars] / FROZEN[0] / 10


class KeepsInSlots(Strategy):
    def weights(self, m: Market):
        if BOX.mean is None:
            BOX.mean = frame(m).mean()
        return (BOX.mean / frame(m) - 1).clip(-0.2, 0.2)


class CompiledConstant(Strategy):
    def weights(self, m: Market):
        return ahead(m.n_bars)


def test_an_object_with_slots_is_put_back_before_each_run() -> None:
    report = kn.check(KeepsInSlots(), MARKET, cuts=[40, 70], fresh=False)
    assert report.kinds == ("state", "look-ahead")
    assert BOX.mean is None


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (CLOSE[:, 0].tolist(), np.asarray),
        (tuple(CLOSE[:, 0].tolist()), np.asarray),
        (dict(zip(MARKET.index, CLOSE[:, 0].tolist(), strict=True)), lambda v: np.array(list(v.values()))),
        (dict(zip(MARKET.index.date, CLOSE[:, 0].tolist(), strict=True)), lambda v: np.array(list(v.values()))),
        (dict(zip(map(str, MARKET.index), CLOSE[:, 0].tolist(), strict=True)), lambda v: np.array(list(v.values()))),
        (np.ascontiguousarray(CLOSE.T), lambda v: v.T),
        (CLOSE[:, :1].copy(), lambda v: v),
        (np.stack([CLOSE, CLOSE], axis=-1), lambda v: v),
        (Row("a", CLOSE.copy()), lambda v: v.rows),
        (Box(CLOSE.copy()), lambda v: v.mean),
    ],
    ids=["list", "tuple", "by time", "by date", "by text", "turned", "one column", "cube", "named tuple", "slots"],
)
def test_rows_after_a_cut_are_others_in_every_shape(value, numbers) -> None:
    was = np.array(numbers(value))
    other = altered(value, MARKET, CUT, np.random.default_rng(0))
    assert type(other) is type(value)
    np.testing.assert_array_equal(numbers(other)[:CUT], was[:CUT])
    assert (numbers(other)[CUT:] != was[CUT:]).mean() > 0.9
    np.testing.assert_array_equal(numbers(value), was)
    if isinstance(value, dict):
        assert list(other) == list(value)


@pytest.mark.parametrize(
    "value",
    [
        list(range(7)),
        [1.0] * 100,
        list(MARKET.index),
        {dt.date(2015, 1, 2): "closed", dt.date(2015, 2, 2): "closed"},
        dict.fromkeys("abcdefghij", 3.0),
        {f"A{k}": 0.5 + k for k in range(100)},  # as many assets as there are bars
        ["a", "b"],
        [[1.0, 2.0]] * 5,
    ],
)
def test_lists_without_a_row_a_bar_are_left_alone(value) -> None:
    assert altered(value, MARKET, CUT, np.random.default_rng(0)) is value


def test_what_is_compiled_into_a_function_is_said_to_be_unchecked() -> None:
    report = kn.check(CompiledConstant(), MARKET, cuts=[40], fresh=False)
    assert [found.kind for found in report.suspicions if found.kind == "outside"] == ["outside"]
    assert "the global `FROZEN` is part of compiled code" in repr(report)


def test_a_cache_in_a_file_is_suspected() -> None:
    class InAFile(Strategy):
        def weights(self, m: Market):
            return np.load("means.npy") if m.n_bars < 0 else np.zeros(m.shape)

    class OwnLoad(Strategy):
        def load(self, m: Market):
            return np.zeros(m.shape)

        def weights(self, m: Market):
            return self.load(m)

    assert "its code calls `load`" in repr(kn.check(InAFile(), MARKET, cuts=[40], fresh=False))
    assert kn.check(OwnLoad(), MARKET, cuts=[40], fresh=False).suspicions == ()


def test_names_left_out_for_gaps_to_come_are_told_how_to_be_kept() -> None:
    class Complete(Strategy):
        def weights(self, m: Market):
            close = frame(m)
            weights = close * 0.0
            weights[close.dropna(axis=1).columns] = 0.1
            return weights

    report = kn.check(Complete(), mortal_market(3), cuts=4, fresh=False)
    assert not report.ok
    assert "`dropna` leaves out names by rows that are yet to come" in report.remedy


def test_a_quick_look_finds_most_of_what_comes_from_outside() -> None:
    outside = [specimen for specimen in HIDDEN if specimen.make is not None]
    seen = []
    for specimen in outside:
        for seed in range(4):
            market = specimen.home(seed)
            seen.append(glance([specimen.on(market)], market, seed=seed, seconds=2.0).refused)
    assert np.mean(seen) >= 0.75  # with one signal, half of all other futures agree at one cut
