"""A result that was saved and loaded is the same to the bit, and what is no result is refused in words."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tempfile
import zlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

import knowable as kn
from knowable.backtest.record import LedgerRecord
from knowable.errors import DataError, InputError

from .results_made import by_weights, results

TABLES = (
    "equity", "returns", "orders", "trades", "positions", "exposure", "costs", "cash", "drawdowns", "monthly",
    "attribution", "cash_flows", "contributions", "flows",
)  # fmt: skip


def same(one: kn.Result, other: kn.Result) -> None:
    """All that can be asked of them is the same."""
    for name in TABLES:
        a, b = getattr(one, name), getattr(other, name)
        assert a.index.equals(b.index)
        assert a.index.dtype == b.index.dtype
        assert a.index.names == b.index.names
        check = pd.testing.assert_series_equal if isinstance(a, pd.Series) else pd.testing.assert_frame_equal
        check(a, b, check_exact=True)
    for part in ("equity", "bars", "orders", "activity"):
        assert getattr(one.record, part).tobytes() == getattr(other.record, part).tobytes()
    for name in ("name", "params", "settings", "warnings", "assets", "bars_per_year", "pins", "ending"):
        assert getattr(one, name) == getattr(other, name)
    assert str(dict(one.metrics)) == str(dict(other.metrics))
    assert one.days.tobytes() == other.days.tobytes()
    assert one.times.tobytes() == other.times.tobytes()
    assert set(one.prices) == set(other.prices)
    assert all(one.prices[name].tobytes() == other.prices[name].tobytes() for name in one.prices)
    assert repr(one.stats()) == repr(other.stats())
    assert repr(one) == repr(other)


@given(results())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # kernels compile
def test_a_loaded_result_is_the_saved_one_to_the_bit(result):
    folder = Path(tempfile.mkdtemp())
    try:
        assert result.save(folder) == folder
        loaded = kn.Result.load(folder)
        same(result, loaded)
        same(loaded, kn.Result.load(loaded.save(folder)))
        assert len(list(folder.iterdir())) == 4, "what was replaced is gone"
        same(result, pickle.loads(pickle.dumps(result)))  # as between processes
    finally:
        shutil.rmtree(folder)


DAYS = pd.bdate_range("2024-01-01", periods=6)


def small(index: pd.DatetimeIndex = DAYS, **params: object) -> kn.Result:
    close = pd.DataFrame({"A": [10.0, 11, 12, 11, 13, 12], "B": [5.0, 5, 6, 6, 7, 6]}, index)
    wanted = np.array([[0.5, 0.5], [0.2, 0.3], [0.0, 0.5], [0.3, 0.0], [0.0, 0.0], [0.0, 0.0]])
    result = kn.backtest(by_weights(wanted), kn.Market.from_frames(close=close), fill="next_close")
    return replace(result, params={**result.params, **params})


def test_a_figure_of_a_loaded_result_is_the_same(tmp_path):
    result = small()
    loaded = kn.Result.load(result.save(tmp_path / "deep" / "down"))
    assert result.plot(asset="A").to_json() == loaded.plot(asset="A").to_json()
    one, other = result.report(tmp_path / "a.html"), loaded.report(tmp_path / "b.html")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo", "+02:00"])
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_labels_keep_unit_zone_name_and_frequency(tmp_path, zone, unit):
    index = pd.date_range("2024-03-29", periods=6, freq="D", tz=zone, name="when").as_unit(unit)
    result = replace(small(index), index=index)
    loaded = kn.Result.load(result.save(tmp_path))
    pd.testing.assert_index_equal(loaded.index, index, exact=True)
    assert loaded.index.freq == index.freq
    assert loaded.index.unit == unit


def test_parameters_that_json_has_come_back_equal_and_others_are_refused_by_name(tmp_path):
    kept = {"mode": "x", "top": 3, "rate": 0.1, "flag": True, "none": None, "most": float("inf"), "list": [1, [2.5]]}
    loaded = kn.Result.load(small(**kept).save(tmp_path / "kept"))
    assert {name: loaded.params[name] for name in kept} == kept
    assert [type(loaded.params[name]) for name in kept] == [type(value) for value in kept.values()]
    for odd in ((1, 2), {1: 2}, np.ones(2), object()):
        with pytest.raises(InputError, match=r"params\['odd'\]"):
            small(odd=odd).save(tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


def test_every_field_of_a_result_is_written():
    """A field added to either must be given a place in the files."""
    assert {each.name for each in fields(kn.Result)} == {
        "name", "params", "settings", "metrics", "warnings", "index", "times", "days", "assets", "bars_per_year",
        "pins", "prices", "marks", "volumes", "record", "bar_returns",
    }  # fmt: skip
    assert {each.name for each in fields(LedgerRecord)} == {
        "equity", "bars", "orders", "activity", "n_fills", "liquidated_at",
    }  # fmt: skip


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(InputError, match=r"holds something else than a result: thesis.docx"):
        small().save(tmp_path)
    (tmp_path / "result.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match="something else"):
        small().save(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        small().save(tmp_path / "thesis.docx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "thesis.docx"]
    for odd in ("", None, "a\0b"):
        with pytest.raises(InputError, match="must name a folder"):
            small().save(odd)


def test_a_save_that_fails_leaves_the_older_result_whole(tmp_path, monkeypatch):
    result = small()
    result.save(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "fdopen"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, full)
            with pytest.raises(InputError, match=r"(?s)No space left on device.*nothing was changed"):
                replace(result, name="Other").save(tmp_path)
        left = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
        assert sorted(left) == before
        same(result, kn.Result.load(tmp_path))


def test_a_result_that_is_replaced_while_it_is_read_is_read_whole(tmp_path, monkeypatch):
    from knowable.backtest import result_files

    small().save(tmp_path)
    read, newer = result_files._read, replace(small(), name="Newer")

    def interrupted(folder, file, part):
        if part == "prices":
            monkeypatch.undo()
            newer.save(tmp_path)
        return read(folder, file, part)

    monkeypatch.setattr(result_files, "_read", interrupted)
    same(newer, kn.Result.load(tmp_path))


def test_what_is_no_result_is_told_so(tmp_path):
    with pytest.raises(InputError, match=r"There is no saved result in .* it is no folder"):
        kn.Result.load(tmp_path / "absent")
    with pytest.raises(InputError, match="it is empty"):
        kn.Result.load(tmp_path)
    (tmp_path / "bars.csv").write_text("a,b")
    with pytest.raises(InputError, match=r"(?s)holds bars.csv.*result.save"):
        kn.Result.load(tmp_path)
    (tmp_path / "result.json").write_text('{"sharpe": 3}')
    with pytest.raises(InputError, match="is no saved result"):
        kn.Result.load(tmp_path)
    (tmp_path / "result.json").write_text('{"kind": "knowable re')
    with pytest.raises(DataError, match="is damaged"):
        kn.Result.load(tmp_path)
    with pytest.raises(InputError, match="must name a folder"):
        kn.Result.load(7)


def test_a_newer_format_is_told_so(tmp_path):
    page = json.loads((small().save(tmp_path) / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**page, "format": 2}))
    with pytest.raises(InputError, match=r"(?s)has format 2 of saved results; this release reads 1.*newer"):
        kn.Result.load(tmp_path)


def test_damage_anywhere_is_found_and_named(tmp_path):
    small().save(tmp_path / "whole")
    rng = np.random.default_rng(3)
    for path in sorted((tmp_path / "whole").iterdir()):
        for _ in range(12):
            shutil.rmtree(tmp_path / "hurt", ignore_errors=True)
            shutil.copytree(tmp_path / "whole", tmp_path / "hurt")
            hurt, content = tmp_path / "hurt" / path.name, bytearray(path.read_bytes())
            content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
            hurt.write_bytes(content)
            with pytest.raises((DataError, InputError), match=path.name):
                kn.Result.load(tmp_path / "hurt")
        hurt.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(DataError, match=path.name):
            kn.Result.load(tmp_path / "hurt")
        hurt.unlink()
        with pytest.raises((DataError, InputError), match=path.name):
            kn.Result.load(tmp_path / "hurt")


def forged(folder: Path, change) -> None:
    """The page as somebody would write it who knows how it is sealed."""
    page = json.loads((folder / "result.json").read_text())
    page.pop("sha256")
    change(page)
    page["sha256"] = hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()
    (folder / "result.json").write_text(json.dumps(page))


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", "..", "", "thesis.docx", "bars-\0.arrow", 5])
def test_a_page_cannot_lead_outside_its_folder_nor_to_other_files(tmp_path, name):
    small().save(tmp_path / "one")
    (tmp_path / "secret.arrow").write_bytes(b"x")
    (tmp_path / "one" / "thesis.docx").write_bytes(b"years of work")
    forged(tmp_path / "one", lambda page: page["files"]["bars"].update(name=name))
    with pytest.raises(DataError, match="the file of its bars has no such name"):
        kn.Result.load(tmp_path / "one")
    small().save(tmp_path / "one")
    assert (tmp_path / "one" / "thesis.docx").exists()
    assert (tmp_path / "secret.arrow").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda page: page.pop("files"), "files are named otherwise"),
        (lambda page: page.update(name=5), "its name is no text"),
        (lambda page: page.update(assets=["A", "A"]), "two assets have one name"),
        (lambda page: page.update(bars_per_year="x"), "its bars a year are no number"),
        (lambda page: page["metrics"].pop("sharpe"), "its metrics are others"),
        (lambda page: page.update(activity=[1.0]), "its activity is not of four numbers"),
        (lambda page: page.update(liquidated_at=6), "it was liquidated on none of its bars"),
        (lambda page: page["settings"].update(cash=-1.0), "`cash > 0` must hold"),
    ],
)
def test_a_page_that_no_result_has_is_refused(tmp_path, change, says):
    forged(small().save(tmp_path), change)
    with pytest.raises(DataError, match=says):
        kn.Result.load(tmp_path)


def rewrite(folder: Path, part: str, column: str, change) -> None:
    """One column of a file, changed and sealed."""

    def on(page):
        path = folder / page["files"][part]["name"]
        table = pa.ipc.open_file(path.read_bytes()).read_all()
        table = table.set_column(table.column_names.index(column), column, change(table))
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        page["files"][part].update(bytes=path.stat().st_size, crc32=zlib.crc32(path.read_bytes()))

    forged(folder, on)


@pytest.mark.parametrize(
    ("part", "column", "value", "says"),
    [
        ("orders", "asset", 10**9, "another asset"),  # a kernel would write there
        ("orders", "asset", -1, "another asset"),
        ("orders", "filled", 10**9, "another bar"),
        ("orders", "filled", 0.5, "another bar"),
        ("orders", "filled", -1, "filled on no bar"),
        ("orders", "decided", 6, "another bar"),
        ("orders", "reason", 99, "another reason"),
        ("orders", "size", float("nan"), "size of an order is no number"),
        ("bars", "day", 0, "its days fall"),
        ("bars", "time", 0, "not in order of time"),
    ],
)
def test_numbers_out_of_range_are_refused_however_well_they_are_sealed(tmp_path, part, column, value, says):
    def change(table):
        kind = table[column].type if part == "bars" else pa.float64()
        values = table[column].to_pylist()
        values[1] = pa.scalar(value, kind).as_py()
        return pa.array(values, kind)

    rewrite(small().save(tmp_path), part, column, change)
    with pytest.raises(DataError, match=says):
        kn.Result.load(tmp_path)


@pytest.mark.parametrize("how", ["lz4", "zstd", "dictionary"])
def test_values_that_could_swell_are_refused_before_they_do(tmp_path, how):
    """2 GB of zeros are 9 MB as lz4 and 0.2 MB as zstd; a file of ours never holds more than its own size."""

    def on(page):
        path = folder / page["files"]["orders"]["name"]
        table = pa.ipc.open_file(path.read_bytes()).read_all()
        if how == "dictionary":
            table = table.set_column(0, "asset", table["asset"].dictionary_encode())
        options = pa.ipc.IpcWriteOptions(compression=None if how == "dictionary" else how)
        with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
            writer.write_table(table)
        page["files"]["orders"].update(bytes=path.stat().st_size, crc32=zlib.crc32(path.read_bytes()))

    folder = small().save(tmp_path)
    forged(folder, on)
    with pytest.raises(DataError, match="holds compressed values or dictionaries"):
        kn.Result.load(folder)


def test_a_file_that_is_cut_after_it_was_loaded_takes_nothing_with_it(tmp_path):
    """Mapped, its pages would be gone, and looking at one would end the process."""
    saved = small()
    folder = saved.save(tmp_path)
    loaded = kn.Result.load(folder)
    for path in folder.glob("*.arrow"):
        os.truncate(path, 0)
    same(saved, loaded)


@pytest.mark.parametrize(("part", "column"), [("bars", "equity"), ("bars", "flows"), ("prices", "close")])
def test_columns_of_other_types_are_refused_before_they_are_read(tmp_path, part, column):
    rewrite(small().save(tmp_path), part, column, lambda table: pa.array([1.0] * len(table), pa.float32()))
    with pytest.raises(DataError, match=f"its {part} are of other types"):
        kn.Result.load(tmp_path)


def test_parameters_within_themselves_are_told(tmp_path):
    turning: list[object] = []
    turning.append(turning)
    with pytest.raises(InputError, match="nested too deep"):
        small(odd=turning).save(tmp_path / "odd")
