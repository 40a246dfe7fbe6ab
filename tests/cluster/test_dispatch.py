"""The dispatcher alone: events in, instructions out, and a simulation of up to a thousand workers."""

import heapq
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowable.cluster.dispatch import TARGET_SECONDS, Dispatcher, Work


def works(n, study="main"):
    return [Work(study=study, number=i, key=f"{study}-{i}", params={"i": i}, source="s") for i in range(n)]


def numbers(batch):
    return [work.number for work in batch.works]


def test_the_first_batches_are_single_trials():
    dispatcher = Dispatcher(3)
    dispatcher.add(works(100))
    assert [numbers(dispatcher.take()) for _ in range(3)] == [[0], [1], [2]]
    assert dispatcher.take() is None  # the window is full


def test_batches_grow_to_the_target_and_no_further():
    dispatcher = Dispatcher(1)
    dispatcher.add(works(100_000))
    sizes = []
    for _ in range(8):
        batch = dispatcher.take()
        sizes.append(len(batch.works))
        dispatcher.done(batch.batch_id, 0.001 * len(batch.works))
    assert sizes[0] == 1
    assert all(b <= 8 * a for a, b in itertools.pairwise(sizes))
    assert sizes[-1] == pytest.approx(TARGET_SECONDS / 0.001, rel=0.01)


def test_expensive_trials_travel_alone():
    dispatcher = Dispatcher(4)
    dispatcher.add(works(50))
    for _ in range(20):
        batch = dispatcher.take()
        assert len(batch.works) == 1
        dispatcher.done(batch.batch_id, 30.0)


def test_a_cold_start_does_not_count_as_the_time_of_a_trial():
    dispatcher = Dispatcher(1)
    dispatcher.add(works(1000))
    dispatcher.done(dispatcher.take().batch_id, 5.0, cold=True)
    dispatcher.done(dispatcher.take().batch_id, 0.01)
    assert len(dispatcher.take().works) == 8


def test_the_last_trials_are_shared_among_the_workers():
    dispatcher = Dispatcher(4)
    dispatcher.add(works(9))
    dispatcher.done(dispatcher.take().batch_id, 0.05)
    assert [len(dispatcher.take().works) for _ in range(4)] == [2, 2, 1, 1]


def test_tiny_trials_are_not_spread_thin_only_to_keep_workers_busy():
    dispatcher = Dispatcher(4)
    dispatcher.add(works(9))
    dispatcher.done(dispatcher.take().batch_id, 0.0001)
    assert len(dispatcher.take().works) == 8


def test_trials_of_many_studies_share_a_batch_study_by_study():
    dispatcher = Dispatcher(1)
    for i in range(40):
        dispatcher.add([works(40, study=f"s{i % 4}")[i]])
    for _ in range(2):
        dispatcher.done(dispatcher.take().batch_id, 0.0001)
    segments = dispatcher.take().segments
    assert [name for name, _ in segments] == ["s0", "s1", "s2", "s3"]
    assert all([p["i"] for p in params] == sorted(p["i"] for p in params) for _, params in segments)


def batch_of(n, n_trials=1000):
    dispatcher = Dispatcher(1)
    dispatcher.add(works(n_trials))
    while True:
        batch = dispatcher.take()
        if len(batch.works) == n:
            return dispatcher, batch
        dispatcher.done(batch.batch_id, TARGET_SECONDS / n * len(batch.works))


def test_a_batch_that_only_waited_on_a_dead_worker_runs_again_without_blame():
    dispatcher, batch = batch_of(8)
    for _ in range(50):
        assert dispatcher.died(batch.batch_id, started=False) == []
        batch = dispatcher.take()
        assert not batch.careful


def test_a_batch_lost_as_a_whole_is_run_carefully_and_then_the_guilty_one_alone():
    dispatcher, batch = batch_of(8, n_trials=17)
    first = numbers(batch)
    assert dispatcher.died(batch.batch_id, started=True) == []
    again = dispatcher.take()
    assert (again.careful, numbers(again)) == (True, first)
    assert dispatcher.died(again.batch_id, started=True, position=3) == []
    ran = []
    while numbers(alone := dispatcher.take()) != first[3:4]:  # the others first: the guilty one may harm them
        ran += numbers(alone)
        dispatcher.done(alone.batch_id, 0.1)
    assert sorted(ran) == sorted(set(range(17)) & set(range(first[0], 17)) - {first[3]})
    assert alone.careful
    assert dispatcher.died(alone.batch_id, started=True, position=0) == []
    alone = dispatcher.take()
    assert [w.number for w in dispatcher.died(alone.batch_id, started=True, position=0)] == first[3:4]
    assert dispatcher.idle


def test_a_time_limit_is_blamed_at_once():
    dispatcher, batch = batch_of(8)
    dispatcher.died(batch.batch_id, started=True)
    again = dispatcher.take()
    (guilty,) = dispatcher.died(again.batch_id, started=True, position=5, final=True)
    assert guilty == batch.works[5]


def test_without_marks_halves_find_the_guilty_one():
    dispatcher, batch = batch_of(8)
    guilty, given_up, survived = batch.works[5], [], []
    lost = batch
    while not given_up:
        dispatcher.died(lost.batch_id, started=None) if len(lost.works) > 1 else None
        while True:
            lost = dispatcher.take()
            if guilty in lost.works:
                break
            survived += lost.works
            dispatcher.done(lost.batch_id, 0.1)
        if len(lost.works) == 1:
            given_up = dispatcher.died(lost.batch_id, started=None)
    assert given_up == [guilty]
    assert guilty not in survived


@given(
    n_workers=st.sampled_from([1, 2, 7, 100, 1000]),
    n_trials=st.integers(1, 600),
    seed=st.integers(0, 10**6),
    marks=st.booleans(),
    poison=st.sets(st.integers(0, 599), max_size=4),
    p_kill=st.sampled_from([0.0, 0.02, 0.2]),
)
def test_in_any_weather_each_trial_ends_once_and_only_the_guilty_fail(n_workers, n_trials, seed, marks, poison, p_kill):
    """Discrete events: workers run batches, die of poison always and of bad luck sometimes, and come back."""
    rng = random.Random(seed)
    dispatcher = Dispatcher(2 * n_workers)
    dispatcher.add(works(n_trials))
    seconds = {i: rng.choice([0.001, 0.02, 0.5]) for i in range(n_trials)}
    queues = [[] for _ in range(n_workers)]
    clock, events = 0.0, []
    done, failed = {}, set()

    def start(worker):
        batch, at = queues[worker][0], clock
        for position, work in enumerate(batch.works):
            at += rng.random() * seconds[work.number]
            unlucky = rng.random() < p_kill / len(batch.works)
            if work.number in poison or unlucky:
                place = position if batch.careful or len(batch.works) == 1 else None
                heapq.heappush(events, (at, rng.random(), worker, "dead", place))
                return
        heapq.heappush(events, (at, rng.random(), worker, "done", None))

    def fill():
        while (batch := dispatcher.take()) is not None:
            worker = min(range(n_workers), key=lambda w: len(queues[w]))
            queues[worker].append(batch)
            if len(queues[worker]) == 1:
                start(worker)

    fill()
    while events:
        clock, _, worker, what, place = heapq.heappop(events)
        batch = queues[worker].pop(0)
        if what == "done":
            dispatcher.done(batch.batch_id, sum(seconds[w.number] for w in batch.works))
            for work in batch.works:
                assert work.number not in done
                done[work.number] = clock
        else:
            lost, queues[worker] = queues[worker], []
            for work in dispatcher.died(
                batch.batch_id, started=True if marks else None, position=place if marks else None
            ):
                assert work.number not in failed
                failed.add(work.number)
            for waited in lost:
                for work in dispatcher.died(waited.batch_id, started=False if marks else None):
                    failed.add(work.number)
        if queues[worker]:
            start(worker)
        fill()
    assert dispatcher.idle
    assert done.keys() | failed == set(range(n_trials))
    assert not done.keys() & failed
    assert poison & set(range(n_trials)) <= failed
    if p_kill == 0 and marks:
        assert failed == poison & set(range(n_trials))
