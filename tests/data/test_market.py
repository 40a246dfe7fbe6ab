"""`Market`: what it takes, what it refuses and in which words, and that it comes back from disk as it was."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import DataError, InputError, KnowableError, ShapeError, StoreError, UnknownNameError

INDEX = pd.bdate_range("2020-01-01", periods=6)


def frame(**columns: list[float]) -> pd.DataFrame:
    columns = columns or {"A": [1.0, 2, 3, 4, 5, 6], "B": [6.0, 5, 4, 3, 2, 1]}
    return pd.DataFrame(columns, index=INDEX)


def test_a_market_has_the_frames_values_labels_and_clock() -> None:
    market = kn.Market.from_frames(close=frame(), volume=frame() * 100)
    assert market.shape == (6, 2)
    assert market.assets == ("A", "B")
    assert market.index.equals(INDEX)
    assert market.times.tolist() == INDEX.as_unit("ns").asi8.tolist()
    np.testing.assert_array_equal(market.panel("volume"), frame().to_numpy() * 100)
    with pytest.raises(ValueError, match="read-only"):
        market.panel("close")[0, 0] = 9.0


def test_dates_of_an_exchange_become_the_closes_of_their_sessions() -> None:
    close = frame().set_axis(
        pd.DatetimeIndex(["2016-03-10", "2016-03-11", "2016-03-14", "2016-03-15", "2016-03-16", "2016-03-17"])
    )
    market = kn.Market.from_frames(close=close, calendar="XNYS")
    assert market.times.astype("datetime64[ns]").astype("datetime64[h]").astype(str).tolist()[1:3] == [
        "2016-03-11T21",
        "2016-03-14T20",
    ]
    assert market.bars_per_year == 252
    assert market.index[0] == pd.Timestamp("2016-03-10")


def test_a_series_is_one_asset() -> None:
    assert kn.Market.from_frames(close=frame()["A"]).assets == ("A",)
    assert kn.Market.from_frames(close=frame()["A"].rename("close")).assets == ("asset",)


def test_a_field_reads_as_a_feature_and_an_unknown_one_offers_the_nearest() -> None:
    market = kn.Market.from_frames(close=frame())
    pd.testing.assert_frame_equal(market.close.frame(), frame(), check_freq=False)
    with pytest.raises(UnknownNameError, match="Unknown field 'clsoe' in the market. Did you mean 'close'?"):
        _ = market.clsoe
    assert not hasattr(market, "clsoe")
    assert not hasattr(market, "_repr_png_")


def test_until_keeps_the_first_rows_and_has_another_fingerprint() -> None:
    market = kn.Market.from_frames(close=frame())
    cut = market.until(4)
    assert cut.n_bars == 4
    assert np.shares_memory(cut.panel("close"), market.panel("close"))
    assert cut.fingerprint != market.fingerprint
    with pytest.raises(InputError, match="1 <= n_bars <= 6"):
        market.until(7)


def test_the_fingerprint_follows_every_bit_of_every_panel() -> None:
    base = kn.Market.from_frames(close=frame(), volume=frame())
    assert base.fingerprint == kn.Market.from_frames(volume=frame(), close=frame()).fingerprint
    other = frame()
    other.iloc[5, 1] = np.nextafter(1.0, 2.0)
    assert base.fingerprint != kn.Market.from_frames(close=frame(), volume=other).fingerprint
    assert base.fingerprint != kn.Market.from_frames(close=frame(), volume=frame(), calendar="24/7").fingerprint


def test_position_reads_dates_like_the_markets_own_labels() -> None:
    naive = kn.Market.from_frames(close=frame())
    assert naive.position("2020-01-03") == 2
    assert naive.position("2020-01-04") == 3  # a Saturday: the next bar
    assert naive.position("2030-01-01") == 6
    aware = kn.Market.from_frames(close=frame().tz_localize("America/New_York"))
    assert aware.position("2020-01-03") == 2
    assert aware.position(pd.Timestamp("2020-01-03 05:00", tz="UTC")) == 2
    with pytest.raises(InputError, match="'soon' is not a date or time"):
        naive.position("soon")


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_a_saved_market_comes_back_mapped_and_equal(tmp_path: Path, zone: str | None) -> None:
    close = pd.DataFrame({"A": [1.0, 2, 3, 4]}, index=pd.date_range("2021-11-06", periods=4, tz=zone, freq="12h"))
    market = kn.Market.from_frames(close=close)
    folder = market.save(tmp_path / "m")
    back = kn.Market.load(folder)
    assert back.fingerprint == market.fingerprint
    assert back.index.equals(market.index)
    assert isinstance(back.panel("close"), np.memmap)
    assert not back.panel("close").flags.writeable
    assert kn.Market.load(market.save(tmp_path / "m")).fingerprint == market.fingerprint  # saving twice keeps the first


def test_a_flipped_bit_in_a_saved_market_is_an_error_naming_the_file(tmp_path: Path) -> None:
    folder = kn.Market.from_frames(close=frame()).save(tmp_path / "m")
    file = folder / "panels-0.npy"
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(StoreError, match=r"panels-0\.npy is damaged"):
        kn.Market.load(folder)
    with pytest.raises(StoreError, match="no saved market"):
        kn.Market.load(tmp_path / "nothing")


@pytest.mark.parametrize("other", [b"'", b"[", b"(", b"\\", b"a", b"9", b"\xff"])
def test_a_damaged_header_in_a_saved_market_is_an_error_naming_the_file(tmp_path: Path, other: bytes) -> None:
    folder = kn.Market.from_frames(close=frame()).save(tmp_path / "m")
    page = (folder / "times.npy").read_bytes()
    for at in range(8, 100):
        if page[at : at + 1] != other:
            (folder / "times.npy").write_bytes(page[:at] + other + page[at + 1 :])
            try:
                kn.Market.load(folder)
            except StoreError as error:
                assert "times.npy is damaged" in str(error)  # noqa: PT017 - blanks of the padding may change unseen


def test_a_pickled_market_is_still_read_only() -> None:
    market = pickle.loads(pickle.dumps(kn.Market.from_frames(close=frame())))
    assert not market.panel("close").flags.writeable
    assert not market.times.flags.writeable


def wrong(close: pd.DataFrame, **others: object) -> str:
    with pytest.raises(KnowableError) as caught:
        kn.Market.from_frames(close=close, **others)  # type: ignore[arg-type]
    text = str(caught.value)
    assert len(text.splitlines()) <= 12
    return text


def test_nan_prices_inside_a_history_are_refused_and_told() -> None:
    text = wrong(frame(A=[1, 2, np.nan, 4, 5, 6]))
    assert text == (
        "`close` of 'A' is NaN at 2020-01-03 00:00:00 (row 2), inside its history; 1 such of 6 prices.\n"
        "Mend the source or drop those bars. If there was truly no price, say so with\n"
        "Market.from_frames(..., missing='allow'): orders then wait for the next price."
    )
    allowed = kn.Market.from_frames(close=frame(A=[1, 2, np.nan, 4, 5, 6]), missing="allow")
    assert np.isnan(allowed.panel("close")[2, 0])


def test_nan_before_the_first_price_and_after_the_last_is_a_life_span() -> None:
    market = kn.Market.from_frames(close=frame(A=[np.nan, 2, 3, 4, np.nan, np.nan], B=[1, 2, 3, 4, 5, 6]))
    assert np.isnan(market.panel("close")[:, 0]).sum() == 3


def test_an_unsorted_index_names_the_first_row_and_the_remedy() -> None:
    text = wrong(frame().iloc[[0, 2, 1, 3, 4, 5]])
    assert text == (
        "`close` is not sorted by time: row 2 is 2020-01-02 00:00:00, after 2020-01-03 00:00:00.\n"
        "Sort it first: frame = frame.sort_index()."
    )


def test_duplicate_timestamps_name_the_row_and_the_remedy() -> None:
    text = wrong(frame().iloc[[0, 1, 1, 2, 3, 3]])
    assert text == (
        "`close` has two rows for 2020-01-02 00:00:00 (the second is row 2); 2 such in all.\n"
        "One row a bar is needed. Look at frame[frame.index.duplicated(keep=False)], then keep the right one:\n"
        "frame = frame[~frame.index.duplicated(keep='last')]."
    )


def test_mixed_time_zones_within_an_index_name_the_first_odd_row() -> None:
    labels = [*INDEX[:3], *(stamp.tz_localize("UTC") for stamp in INDEX[3:])]
    text = wrong(frame().set_axis(pd.Index(labels, dtype=object)))
    assert text == (
        "`close` mixes time zones in its index: row 0 is 2020-01-01 00:00:00, row 3 is 2020-01-06 00:00:00+00:00.\n"
        "One time zone is needed: frame.index = pd.to_datetime(frame.index, utc=True)."
    )


def test_mixed_time_zones_between_frames_name_both() -> None:
    text = wrong(frame().tz_localize("UTC"), open=frame())
    assert "`open` has none (first row 2020-01-01 00:00:00), `close` has UTC" in text
    assert "tz_localize('UTC')" in text


@pytest.mark.parametrize(
    ("close", "others", "expected"),
    [
        (frame(A=[1, 2, 0, 4, 5, 6]), {}, "`close` of 'A' is not a positive price at 2020-01-03 00:00:00 (row 2): 0"),
        (frame(A=[1, 2, np.inf, 4, 5, 6]), {}, "`close` of 'A' is infinite at 2020-01-03"),
        (frame(), {"high": frame() * 0.5, "low": frame() * 0.4}, "`close` of 'A' is above high at 2020-01-01"),
        (frame(), {"high": frame(), "low": frame() * 2}, "`high` of 'A' is below low at 2020-01-01"),
        (frame(), {"volume": -frame()}, "`volume` of 'A' is negative at 2020-01-01"),
        (frame(A=[np.nan] * 6), {}, "`close` of 'A' is NaN in all 6 rows"),
        (frame().astype(str), {}, "`close` of 'A' must be numbers, but its dtype is str ('1.0' at 2020-01-01"),
        (frame(), {"phase": frame().astype(complex)}, "`phase` of 'A' must be numbers, but its dtype is complex128"),
        (frame(), {"sector": frame().map(lambda _: "tech")}, "lambda column: column.map({'tech': 1.0, ..."),
        (frame(A=[1, 2, 3, 4, 5, "six"]), {}, "('six' at 2020-01-08 00:00:00).\nMend that cell"),
        (frame().reset_index(drop=True), {}, "`close` needs a DatetimeIndex, but its index is a RangeIndex"),
        (frame().iloc[:0], {}, "`close` is empty: shape (0, 2)"),
    ],
)
def test_impossible_values_name_field_asset_and_row(
    close: pd.DataFrame, others: dict[str, object], expected: str
) -> None:
    assert expected in wrong(close, **others)


def test_frames_that_do_not_fit_each_other_are_told_apart() -> None:
    assert "`open` has 5 rows, `close` has 6; 2020-01-01 00:00:00 is only in `close`" in wrong(
        frame(), open=frame().iloc[1:]
    )
    assert "'B' is only in `close`" in wrong(frame(), open=frame()[["A"]])
    with pytest.raises(ShapeError, match="columns of 2 levels"):
        kn.Market.from_frames(close=pd.concat({"x": frame()}, axis=1))
    with pytest.raises(ShapeError, match="more than one column"):
        kn.Market.from_frames(close=pd.concat([frame(), frame()], axis=1))


def test_a_saturday_in_an_exchange_calendar_is_told_with_a_remedy() -> None:
    close = pd.DataFrame({"A": [1.0, 2]}, index=pd.DatetimeIndex(["2019-03-01", "2019-03-02"]))
    with pytest.raises(DataError, match="Drop such rows, name the right calendar"):
        kn.Market.from_frames(close=close, calendar="XNYS")


def test_intraday_labels_of_an_exchange_need_a_time_zone() -> None:
    close = pd.DataFrame({"A": [1.0, 2]}, index=pd.DatetimeIndex(["2019-03-01 10:00", "2019-03-01 11:00"]))
    with pytest.raises(InputError, match="needs a time zone"):
        kn.Market.from_frames(close=close, calendar="XNYS")


def test_a_vendors_table_of_one_asset_is_no_market_of_five() -> None:
    bars = pd.DataFrame({name: np.arange(1.0, 7) for name in ("Open", "High", "Low", "Close", "Volume")}, index=INDEX)
    assert "has the fields close, high, low, open, volume as columns" in wrong(bars)


def test_names_that_become_equal_as_text_are_refused() -> None:
    assert "has the asset '1' in more than one column" in wrong(frame().set_axis([1, "1"], axis=1))


def test_a_field_may_not_hide_what_a_market_has() -> None:
    assert "A field cannot be called 'panels'" in wrong(frame(), panels=frame())


def test_other_kinds_of_frames_and_indexes_get_their_remedy() -> None:
    polars = pytest.importorskip("polars")
    assert "it is a polars.DataFrame. Turn it into one: frame.to_pandas()" in wrong(polars.DataFrame({"A": [1.0]}))
    assert "frame.index = frame.index.to_timestamp(how='end')" in wrong(frame().to_period("D"))
    assert "`close` is needed" in wrong(None)  # type: ignore[arg-type]


def test_years_and_months_name_whole_spans() -> None:
    index = pd.bdate_range("2015-12-01", "2017-01-31")
    close = pd.DataFrame({"A": np.arange(1.0, len(index) + 1)}, index=index)

    class Hold(kn.Strategy):
        def weights(self, m):
            return m.close * 0 + 1.0

    market = kn.Market.from_frames(close=close, open=close)
    year = kn.backtest(Hold(), market, start="2016", end="2016").equity.index
    assert (year[0], year[-1]) == (pd.Timestamp("2016-01-01"), pd.Timestamp("2016-12-30"))
    month = kn.backtest(Hold(), market, start="2016-03", end="2016-03").equity.index
    assert (month[0], month[-1]) == (pd.Timestamp("2016-03-01"), pd.Timestamp("2016-03-31"))


def test_a_flipped_bit_in_the_page_of_a_saved_market_is_an_error_whatever_it_says(tmp_path: Path) -> None:
    folder = kn.Market.from_frames(close=frame()).save(tmp_path / "m")
    page = folder / "market.json"
    whole = page.read_bytes()
    for at in range(0, len(whole), 7):
        raw = bytearray(whole)
        raw[at] ^= 1
        page.write_bytes(bytes(raw))
        with pytest.raises(StoreError, match=r"damaged|market format|cannot be read"):
            kn.Market.load(folder)


def test_panels_that_are_one_array_are_one_file(tmp_path: Path) -> None:
    close = np.ascontiguousarray(frame().to_numpy())
    market = kn.Market.build(times=np.arange(6), assets=("A", "B"), panels={"close": close, "raw_close": close})
    back = kn.Market.load(market.save(tmp_path / "m"))
    assert len(list((tmp_path / "m").glob("*.npy"))) == 3
    assert back.final is back.panels
    assert back.panel("close") is back.panel("raw_close")
    assert back.fingerprint == market.fingerprint == pickle.loads(pickle.dumps(market)).fingerprint
    assert kn.Market.build(times=np.arange(6), assets=("A", "B"), panels={"close": close, "raw_close": close.copy()}) \
        .fingerprint == market.fingerprint  # fmt: skip


def test_a_market_saved_in_the_first_format_is_read_and_checked(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    close, times = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([10, 20])
    for name, array in {"times": times, "decision_times": times, "panels-0": close}.items():
        np.save(folder / f"{name}.npy", array)
    sums = {path.stem: hashlib.blake2b(path.read_bytes()).hexdigest() for path in folder.glob("*.npy")}
    page = {
        "format": 1, "fingerprint": "f", "assets": ["A", "B"], "calendar": None, "bars_per_year": 2.0, "pins": [],
        "notes": [], "unit": "ns", "zone": "UTC", "labels": [10, 20], "panels": ["close"], "final": [], "sha256": sums,
    }  # fmt: skip
    (folder / "market.json").write_text(json.dumps(page))
    back = kn.Market.load(folder)
    assert back.fingerprint == "f"
    assert (back.assets, len(back.actions), back.adjust) == (("A", "B"), 0, "none")
    np.testing.assert_array_equal(back.final_panel("close"), close)
    np.save(folder / "panels-0.npy", close + 1)
    with pytest.raises(StoreError, match=r"panels-0\.npy is damaged"):
        kn.Market.load(folder)
