"""The panel cache: exact panels are mapped, other choices of entities gathered; faults cost time and nothing else."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowable.data.asof import cache as cache_room
from knowable.data.asof import wide as wide_room
from knowable.data.asof.cache import PanelCache, trim
from knowable.data.asof.memory import Memory
from knowable.data.schema import Schema
from knowable.data.store import Store

SUBJECT = "ab" + "0" * 38
NAMES = tuple(f"E{k:02d}" for k in range(30))
N_TIMES = 700


def series(name: str) -> np.ndarray:
    return np.random.default_rng(int(name[1:])).normal(size=N_TIMES)


class Builder:
    """Builds series, remembers which; names past the thirtieth have no facts."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def __call__(self, missing: Sequence[str]):
        known = [name for name in missing if name in NAMES]
        self.built.extend(known)
        for k in range(0, len(known), 7):
            yield known[k : k + 7], np.array([series(name) for name in known[k : k + 7]])


def expected(names: Sequence[str]) -> np.ndarray:
    return np.column_stack([series(name) if name in NAMES else np.full(N_TIMES, np.nan) for name in names])


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    choices=st.lists(st.lists(st.sampled_from([*NAMES, "Z1", "Z2"]), min_size=1, unique=True), min_size=1, max_size=6)
)
def test_any_choices_in_any_order_give_the_series_of_their_names(tmp_path_factory, choices: list[list[str]]) -> None:
    held, build = PanelCache(folder=tmp_path_factory.mktemp("cache")), Builder()
    for names in choices:
        found = held.panel(SUBJECT, names, N_TIMES, build)
        np.testing.assert_array_equal(found, expected(names))
        assert found.flags.c_contiguous
        assert not found.flags.writeable
    assert len(build.built) == len(set(build.built)), "a series is built once"


def test_an_exact_request_is_mapped_and_a_subset_builds_nothing(tmp_path: Path) -> None:
    held, build = PanelCache(folder=tmp_path), Builder()
    held.panel(SUBJECT, NAMES, N_TIMES, build)
    build.built.clear()
    again = held.panel(SUBJECT, NAMES, N_TIMES, build)
    base = again
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    some = held.panel(SUBJECT, NAMES[20:3:-3], N_TIMES, build)
    np.testing.assert_array_equal(some, expected(NAMES[20:3:-3]))
    assert build.built == []
    more = held.panel(SUBJECT, [*NAMES[:2], "Z9"], N_TIMES, build)  # Z9 has no facts: asked for, found to have none
    np.testing.assert_array_equal(more, expected([*NAMES[:2], "Z9"]))
    assert build.built == []


def files(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.rglob(f"*{ending}"))


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.97, 0.999, 0.9999])
@pytest.mark.parametrize("ending", [".wide", ".npy"])
def test_a_flipped_bit_is_found_and_the_file_built_again(tmp_path: Path, ending: str, place: float) -> None:
    held = PanelCache(folder=tmp_path)
    held.panel(SUBJECT, NAMES, N_TIMES, Builder())
    (path,) = files(tmp_path, ending)
    if ending == ".wide":
        files(tmp_path, ".npy")[0].unlink()  # else nobody looks
    page = bytearray(path.read_bytes())
    page[int(place * len(page))] ^= 16
    path.write_bytes(page)
    for names in (NAMES, NAMES[::-1]):
        np.testing.assert_array_equal(held.panel(SUBJECT, names, N_TIMES, Builder()), expected(names))


@pytest.mark.parametrize("other", [b"'", b"[", b"(", b"\\", b"a", b"9", b"\xff"])
def test_a_header_with_any_byte_damaged_is_built_again(tmp_path: Path, other: bytes) -> None:
    """The header of a mapped array is Python text; its parser, and the older one it falls back on, raise many kinds."""
    held = PanelCache(folder=tmp_path)
    held.panel(SUBJECT, NAMES, N_TIMES, Builder())
    for at in range(8, 128, 3):
        (path,) = files(tmp_path, ".npy")
        page = path.read_bytes()
        path.write_bytes(page[:at] + other + page[at + 1 :])
        np.testing.assert_array_equal(held.panel(SUBJECT, NAMES, N_TIMES, Builder()), expected(NAMES))


@pytest.mark.parametrize("ending", [".wide", ".npy", ".names"])
def test_a_torn_file_is_built_again(tmp_path: Path, ending: str) -> None:
    held = PanelCache(folder=tmp_path)
    held.panel(SUBJECT, NAMES, N_TIMES, Builder())
    held.names(SUBJECT, lambda: NAMES)
    for path in files(tmp_path, ending):
        path.write_bytes(path.read_bytes()[:-5])
    np.testing.assert_array_equal(held.panel(SUBJECT, NAMES[:3], N_TIMES, Builder()), expected(NAMES[:3]))
    np.testing.assert_array_equal(held.panel(SUBJECT, NAMES, N_TIMES, Builder()), expected(NAMES))
    assert held.names(SUBJECT, lambda: NAMES) == NAMES


def test_a_file_that_claims_to_be_huge_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    held = PanelCache(folder=tmp_path)
    held.panel(SUBJECT, NAMES, N_TIMES, Builder())
    (path,) = files(tmp_path, ".wide")
    end = wide_room._END
    body = path.read_bytes()
    path.write_bytes(body[: -end.size] + end.pack(2**60, 0, wide_room._MAGIC))
    assert wide_room.open_wide(path, N_TIMES) is None


class Full(OSError):
    """No space is left."""


def test_a_full_disk_never_fails_a_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = PanelCache(folder=tmp_path)
    calls = {"n": 0}
    for limit in range(8):  # the disk is full at the first write, the second, ...

        def write(self, names, block, limit=limit, real=wide_room.WideWriter.add):
            calls["n"] += 1
            if calls["n"] > limit:
                raise Full
            return real(self, names, block)

        calls["n"] = 0
        with monkeypatch.context() as patch:
            patch.setattr(wide_room.WideWriter, "add", write)
            found = held.panel(SUBJECT, NAMES[: 3 * limit + 1], N_TIMES, Builder())
        np.testing.assert_array_equal(found, expected(NAMES[: 3 * limit + 1]))
        assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
    np.testing.assert_array_equal(held.panel(SUBJECT, NAMES, N_TIMES, Builder()), expected(NAMES))


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "panels").write_text("a file where the folder should be")
    held = PanelCache(folder=tmp_path)
    for _ in range(2):
        np.testing.assert_array_equal(held.panel(SUBJECT, NAMES, N_TIMES, Builder()), expected(NAMES))
    assert held.names(SUBJECT, lambda: NAMES) == NAMES


def test_the_least_recently_used_files_go_first(tmp_path: Path) -> None:
    size = 8 * N_TIMES
    held = PanelCache(folder=tmp_path, limit=20 * size)
    subjects = [f"{k:02d}" + "0" * 38 for k in range(6)]
    for k, subject in enumerate(subjects):
        held.panel(subject, NAMES[:2], N_TIMES, Builder())
        for path in files(tmp_path / "panels" / subject[:2], ""):
            if path.is_file():
                os.utime(path, ns=(10**18 + k * 10**9, 10**18 + k * 10**9))
    held.panel(subjects[0], NAMES[:2], N_TIMES, Builder())  # used again: the oldest is now the youngest
    trim(tmp_path, 12 * size)
    left = {path.parent.name for path in files(tmp_path, ".npy")}
    assert subjects[0] in left
    assert subjects[5] in left
    assert subjects[1] not in left
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 12 * size
    trim(tmp_path, 0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_mapped_panel_outlives_its_file(tmp_path: Path) -> None:
    held = PanelCache(folder=tmp_path, limit=0)
    held.panel(SUBJECT, NAMES, N_TIMES, Builder())
    assert not files(tmp_path, ".npy")
    kept = PanelCache(folder=tmp_path)
    kept.panel(SUBJECT, NAMES, N_TIMES, Builder())
    mapped = kept.panel(SUBJECT, NAMES, N_TIMES, Builder())
    trim(tmp_path, 0)
    np.testing.assert_array_equal(mapped, expected(NAMES))


def test_what_a_dead_process_left_behind_is_swept_up(tmp_path: Path) -> None:
    held = PanelCache(folder=tmp_path)
    held.panel(SUBJECT, NAMES[:1], N_TIMES, Builder())
    home = files(tmp_path, ".npy")[0].parent
    old, young = home / ".wide.1.aa", home / ".part.1.bb"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (10**9, 10**9))
    trim(tmp_path, 10**9)
    assert not old.exists()
    assert young.exists()


def test_threads_that_build_the_same_agree(tmp_path: Path) -> None:
    held = PanelCache(folder=tmp_path)
    wrong: list[str] = []

    def work(k: int) -> None:
        names = NAMES[k : k + 20]
        answers = [held.panel(SUBJECT, names, N_TIMES, Builder()) for _ in range(5)]
        wrong.extend(str(k) for answer in answers if answer.tobytes() != expected(names).tobytes())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_many_small_files_of_series_become_one(tmp_path: Path) -> None:
    held = PanelCache(folder=tmp_path)
    for name in NAMES:
        held.panel(SUBJECT, [name], N_TIMES, Builder())
    assert len(files(tmp_path, ".wide")) <= cache_room._PARTS
    build = Builder()
    np.testing.assert_array_equal(held.panel(SUBJECT, NAMES, N_TIMES, build), expected(NAMES))
    assert build.built == []


def test_a_store_answers_other_choices_from_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, cache_bytes=50_000_000)
    store.create("facts", Schema.facts(fields={"x": "1"}))
    clock = pd.date_range("2016-01-01", periods=400, tz="UTC")
    frame = pd.DataFrame(
        [
            {"entity": f"E{k}", "event_time": day, "known_time": day, "x": k + day.day_of_year}
            for k in range(9)
            for day in clock[::30]
        ]
    )
    store.append("facts", frame)
    wide = store.panel("facts", "x", clock=clock)
    assert wide.shape == (400, 9)
    with monkeypatch.context() as patch, contextlib.ExitStack():
        patch.setattr("knowable.data.reading.load", None)  # whoever read the facts again would fail
        fresh = Store(tmp_path)
        some = fresh.panel("facts", "x", clock=clock, entities=["E7", "E2"])
        np.testing.assert_array_equal(some, wide[:, [7, 2]])
    later = store.panel("facts", "x", clock=clock + pd.Timedelta("1h"), entities=["E7", "E2"])
    np.testing.assert_array_equal(later, some)


def test_memory_is_bounded_by_bytes_and_keeps_what_was_used_last() -> None:
    class Weight:
        def __init__(self, n: int) -> None:
            self.n_bytes = n

    memory, built = Memory(limit=100), []

    def get(key: str, n: int = 15) -> None:
        def build() -> Weight:
            built.append(key)
            return Weight(n)

        memory.get(key, build)  # type: ignore[arg-type,return-value]

    for key in "abcabcd":  # three of 30 fit, a fourth drives out the one used longest ago
        get(key)
    assert "".join(built) == "abcd"
    get("b")
    get("a")
    assert "".join(built) == "abcda"
    get("huge", 60)
    get("b")
    assert memory.n_bytes <= 100
    assert "".join(built) == "abcdahuge"
