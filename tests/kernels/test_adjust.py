"""Forward adjustment: a hand-worked table, a holder followed bar by bar, and the laws of prefixes and chunks."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.kernels.adjust import AdjustState, adjust_kernel
from knowable.testing.actions_oracle import Deed, holder

NEVER = np.iinfo(np.int64).max
NAN = math.nan


def locked(values: object, dtype: type) -> np.ndarray:
    array = np.ascontiguousarray(np.array(values, dtype=dtype))
    array.flags.writeable = False
    return array


def begin(n_versions: int, n_assets: int) -> AdjustState:
    return AdjustState(
        gain=np.full(n_versions, NAN),
        booked=np.zeros(n_versions, np.int64),
        owed=np.zeros(n_versions),
        begun=np.full(n_assets, NEVER),
        split=np.ones(n_assets),
        total=np.ones(n_assets),
        next_ex=np.full(n_assets, np.iinfo(np.int64).min),
        next_known=np.full(n_assets, np.iinfo(np.int64).min),
        waiting=np.zeros(n_assets, np.bool_),
    )


def versions(deeds: list[Deed], n_assets: int) -> tuple[np.ndarray, ...]:
    ordered = sorted(deeds, key=lambda d: (d.asset, d.ex, d.ratio is not None, d.known))
    first = np.searchsorted([d.asset for d in ordered], np.arange(n_assets + 1))
    return (
        locked(first, np.int64),
        locked([d.ex for d in ordered], np.int64),
        locked([d.known for d in ordered], np.int64),
        locked([NEVER if d.withdrawn is None else d.withdrawn for d in ordered], np.int64),
        locked([1.0 if d.ratio is None else d.ratio for d in ordered], np.float64),
        locked([d.cash for d in ordered], np.float64),
        locked([d.units for d in ordered], np.float64),
        locked([-1 if d.of is None else d.of for d in ordered], np.int64),
    )


def factors(
    deeds: list[Deed], times: list[int], decisions: list[int], closes: list[list[float]], cuts: tuple[int, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(times), len(closes[0]))
    split, total = np.empty(shape), np.empty(shape)
    state, held = begin(len(deeds), shape[1]), versions(deeds, shape[1])
    edges = [0, *sorted(cuts), len(times)]
    clock, decided, close = locked(times, np.int64), locked(decisions, np.int64), locked(closes, np.float64)
    for a, b in itertools.pairwise(edges):
        adjust_kernel(clock[a:b], decided[a:b], close[a:b], *held, state, split[a:b], total[a:b])
    return split, total


def test_a_split_and_a_dividend_by_hand() -> None:
    """100, then 2:1 and 51, then 1 a share and 50: one share is 2, and 2 dollars buy 2/50 of a share more."""
    times = [10, 20, 30, 40]
    deeds = [Deed(asset=0, ex=15, ratio=2.0), Deed(asset=0, ex=25, cash=1.0)]
    split, total = factors(deeds, times, times, [[100.0], [51.0], [50.0], [55.0]])
    assert split[:, 0].tolist() == [1.0, 2.0, 2.0, 2.0]
    assert total[:, 0].tolist() == [1.0, 2.0, 2.04, 2.04]
    # the return over the ex-date is (50 + 1) / 51 - 1 = 0, as the holder of a share has it
    assert 50.0 * total[2, 0] == 51.0 * total[1, 0]


def test_a_dividend_of_a_split_day_is_per_old_share() -> None:
    times = [10, 20]
    deeds = [Deed(asset=0, ex=15, ratio=2.0), Deed(asset=0, ex=15, cash=10.0)]
    _, total = factors(deeds, times, times, [[110.0], [50.0]])
    assert total[1, 0] == 2.2  # 2 shares of 50 and 10 in cash


def test_an_action_at_the_very_end_of_a_bar_belongs_to_the_next_one() -> None:
    times = [10, 20, 30]
    split, _ = factors([Deed(asset=0, ex=20, ratio=2.0)], times, times, [[4.0], [4.0], [2.0]])
    assert split[:, 0].tolist() == [1.0, 1.0, 2.0]


def test_what_happened_before_the_first_price_is_in_that_price() -> None:
    times = [10, 20, 30, 40]
    deeds = [Deed(asset=0, ex=5, ratio=3.0), Deed(asset=0, ex=25, ratio=2.0), Deed(asset=0, ex=25, cash=7.0)]
    split, total = factors(deeds, times, times, [[NAN], [NAN], [4.0], [2.0]])
    assert split[:, 0].tolist() == total[:, 0].tolist() == [1.0, 1.0, 1.0, 1.0]


def test_a_late_split_takes_effect_when_it_is_known_and_a_withdrawn_one_leaves_no_trace() -> None:
    times = [10, 20, 30, 40, 50]
    deeds = [Deed(asset=0, ex=15, ratio=2.0, known=38), Deed(asset=0, ex=15, ratio=1.5, known=12, withdrawn=30)]
    split, _ = factors(deeds, times, [t + 2 for t in times], [[4.0], [2.0], [2.0], [2.0], [2.0]])
    assert split[:, 0].tolist() == [1.0, 1.5, 1.0, 2.0, 2.0]


def test_a_late_dividend_bought_at_the_close_of_its_own_day() -> None:
    times = [10, 20, 30]
    _, total = factors([Deed(asset=0, ex=15, cash=1.0, known=28)], times, times, [[10.0], [8.0], [16.0]])
    assert total[:, 0].tolist() == [1.0, 1.0, 1.125]


def test_a_spin_off_is_worth_what_its_shares_close_at() -> None:
    """One share of 100 gives half a share of a company that closes at 40; the parent closes at 80."""
    times = [10, 20, 30]
    deeds = [Deed(asset=0, ex=15, units=0.5, of=1)]
    _, total = factors(deeds, times, times, [[100.0, NAN], [80.0, 40.0], [80.0, 50.0]])
    assert total[:, 0].tolist() == [1.0, 1.25, 1.25]
    assert total[:, 1].tolist() == [1.0, 1.0, 1.0]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Deed], list[int], list[int], list[list[float]]]:
    n_bars, n_assets = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    times = [10 * (t + 1) for t in range(n_bars)]
    decisions = [t + draw(st.integers(0, 9)) for t in times]
    price = st.one_of(st.just(NAN), st.sampled_from([1.0, 2.0, 3.5, 8.0, 40.0]))
    closes = [[draw(price) for _ in range(n_assets)] for _ in range(n_bars)]
    moment = st.integers(-5, 10 * n_bars + 15)
    deeds = []
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.sampled_from(["split", "cash", "shares"]))
        known = draw(moment)
        deeds.append(
            Deed(
                asset=draw(st.integers(0, n_assets - 1)),
                ex=draw(st.sampled_from([5, 15, 25, 35, 10, 20, 55])),
                known=known,
                withdrawn=draw(st.one_of(st.none(), st.integers(known + 1, known + 40))),
                ratio=draw(st.sampled_from([0.1, 2.0, 1.5])) if kind == "split" else None,
                cash=draw(st.sampled_from([0.25, 1.0])) if kind == "cash" else 0.0,
                units=0.5 if kind == "shares" else 0.0,
                of=draw(st.integers(0, n_assets - 1)) if kind == "shares" else None,
            )
        )
    return deeds, times, decisions, closes


@given(cases())
@settings(max_examples=3 * settings().max_examples, deadline=None)
def test_the_kernel_agrees_with_a_holder_followed_bar_by_bar(
    case: tuple[list[Deed], list[int], list[int], list[list[float]]],
) -> None:
    deeds, times, decisions, closes = case
    split, total = factors(*case)
    for t in range(len(times)):
        for j in range(len(closes[0])):
            expected = holder(deeds, j, times, decisions, closes, t)
            np.testing.assert_allclose([split[t, j], total[t, j]], expected, rtol=1e-13)


@given(cases(), st.data())
@settings(max_examples=2 * settings().max_examples, deadline=None)
def test_no_later_bar_or_action_changes_a_bit_of_an_earlier_row(
    case: tuple[list[Deed], list[int], list[int], list[list[float]]], data: st.DataObject
) -> None:
    deeds, times, decisions, closes = case
    whole = factors(*case)
    n = data.draw(st.integers(1, len(times)))
    horizon = max(decisions[:n])
    told = [
        Deed(
            asset=d.asset, ex=d.ex, known=d.known, ratio=d.ratio, cash=d.cash, units=d.units, of=d.of,
            withdrawn=d.withdrawn if d.withdrawn is not None and d.withdrawn <= horizon else None,
        )
        for d in deeds
        if d.known <= horizon and d.ex < times[n - 1]
    ]  # fmt: skip
    cut = factors(told, times[:n], decisions[:n], closes[:n])
    for a, b in zip(whole, cut, strict=True):
        assert a[:n].tobytes() == b.tobytes()


@given(cases(), st.sets(st.integers(0, 9)))
@settings(max_examples=2 * settings().max_examples, deadline=None)
def test_any_chunking_gives_the_same_bits(
    case: tuple[list[Deed], list[int], list[int], list[list[float]]], cuts: set[int]
) -> None:
    whole = factors(*case)
    parts = factors(*case, cuts=tuple(c for c in cuts if c < len(case[1])))
    for a, b in zip(whole, parts, strict=True):
        assert a.tobytes() == b.tobytes()
