"""Fits are made once: kept by content in memory and on disk, shared by strategies, checks, processes and workers."""

from __future__ import annotations

import io
import sys
import time

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable import features as f
from knowable.features.models import jobs
from knowable.features.models.cache import KEPT, PredictionCache, read_predictions, write_predictions
from knowable.features.models.crew import in_worker
from knowable.testing.model_oracle import LeastSquares

INDEX = pd.bdate_range("2020-01-01", periods=200)
RNG = np.random.default_rng(0)
CLOSE = pd.DataFrame(100 * np.exp(np.cumsum(RNG.normal(0, 0.02, (200, 3)), axis=0)), INDEX, list("ABC"))
M = kn.Market.from_frames(close=CLOSE, open=CLOSE)


FITS: list[str] = []


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """Nothing kept, nothing proved; each fit made in this process leaves a line."""
    fit = jobs.fit
    monkeypatch.setattr(jobs, "fit", lambda *given: (FITS.append(given[-1]), fit(*given))[1])
    KEPT.clear()
    FITS.clear()
    jobs._proved.clear()


def model_of(m=M, estimator=None, **options):
    label = kn.label(m.close / m.close.lag(2) - 1, ahead=2)
    x = [m.close / m.close.lag(1) - 1, m.close / m.close.mean(5) - 1]
    return kn.model(estimator or LeastSquares(), x, label, **{"train": 60, "refit": 20, **options})


def made():
    """Fits made since it was last asked."""
    n = len(FITS)
    FITS.clear()
    return n


def test_the_same_model_on_the_same_rows_is_fitted_once() -> None:
    values = model_of().values()
    assert made() == 8 + 1  # at rows 40 to 180; the first one twice, to see that it repeats itself
    assert model_of().values().tobytes() == values.tobytes()
    assert (model_of().rank() + 1).values().shape == (200, 3)
    assert made() == 0


def test_a_market_that_is_cut_shares_the_fits_and_predictions_it_has_in_common() -> None:
    feature = model_of()
    values = feature.values()
    made()
    for cut in (41, 97, 140, 199):
        assert f.evaluate(feature, M.until(cut)).tobytes() == values[:cut].tobytes()
    assert made() == 0
    other = CLOSE.copy()
    other.iloc[150:] *= 1.5
    changed = f.evaluate(feature, kn.Market.from_frames(close=other, open=other))
    assert made() == 3  # rows 150 to 159 are new to the fit of row 140; those of 160 and 180 train with them
    assert changed[:150].tobytes() == values[:150].tobytes()


def test_a_stepper_takes_what_the_batch_has_made() -> None:
    feature = model_of()
    values = feature.values()
    made()
    assert feature.stepper().feed(M.panels).tobytes() == values.tobytes()
    assert made() == 0


def test_what_is_kept_is_bounded_and_the_oldest_leaves_first() -> None:
    cache = PredictionCache(max_bytes=3 * (80 + 150))
    ten = np.arange(10.0)
    for name in (b"one", b"two", b"three"):
        cache.keep(name, {b"bar": ten})
    assert cache.find(b"one", [b"bar", b"other"])[0] is ten
    cache.keep(b"four", {b"bar": ten})
    held = [cache.find(name, [b"bar"])[0] is ten for name in (b"one", b"two", b"three", b"four")]
    assert held == [True, False, True, True]
    assert cache.n_bytes == 3 * (80 + 150)
    cache.keep(b"one", {b"bar": ten})
    assert cache.n_bytes == 3 * (80 + 150)


def test_predictions_on_disk_serve_another_session(tmp_path) -> None:
    values = model_of(cache=tmp_path).values()
    assert made() == 9
    assert len(list(tmp_path.glob("*/*.npy"))) == 8
    KEPT.clear()
    assert model_of(cache=tmp_path).values().tobytes() == values.tobytes()
    assert made() == 0
    KEPT.clear()
    assert model_of(cache=False).values().tobytes() == values.tobytes()
    assert made() == 8


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "text", "other"])
def test_a_damaged_file_is_as_none_and_goes(tmp_path, harm) -> None:
    values = model_of(cache=tmp_path).values()
    made()
    paths = sorted(tmp_path.glob("*/*.npy"))
    whole = paths[0].read_bytes()
    harmed = {
        "flip": whole[:-1] + bytes([whole[-1] ^ 1]), "cut": whole[:-8], "empty": b"", "text": b"no array",
        "other": paths[1].read_bytes(),
    }  # fmt: skip
    paths[0].write_bytes(harmed[harm])
    KEPT.clear()
    assert model_of(cache=tmp_path).values().tobytes() == values.tobytes()
    assert made() == 1
    assert paths[0].read_bytes() == whole


def test_where_the_disk_refuses_nothing_is_kept_and_nothing_fails(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert np.isfinite(model_of(cache=tmp_path / "file").values()[40:]).all()


def test_bars_without_assets_are_kept_too(tmp_path) -> None:
    found = [np.empty(0), np.arange(2.0), np.empty(0)]
    write_predictions(tmp_path, b"fit", [b"a", b"b", b"c"], found)
    read = read_predictions(tmp_path, b"fit", [b"a", b"b", b"c"], [0, 2, 0])
    assert [each.tolist() for each in read] == [[], [0.0, 1.0], []]
    assert read_predictions(tmp_path, b"fit", [b"a", b"b"], [0, 2]) is None


def test_the_users_cache_folder_is_where_the_system_says(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model_of(cache=True).values()
    assert len(list((tmp_path / "knowable" / "models").glob("*/*.npy"))) == 8


class Slow(LeastSquares):
    """Takes its time, so that workers are worth their start."""

    def fit(self, x, y):
        time.sleep(self.weight * 0.05)
        return super().fit(x, y)


def test_fits_on_worker_processes_have_the_bits_of_those_made_here(monkeypatch) -> None:
    there = []
    real = jobs.fit_and_predict
    monkeypatch.setattr(jobs, "_WORTH_S", 0.0)
    monkeypatch.setattr(jobs, "fit_and_predict", lambda *given: there.append(1) or real(*given))
    values = model_of(estimator=Slow(), workers=1).values()
    assert len(there) == 2  # the first fit and its proof; the others were made elsewhere
    monkeypatch.undo()
    KEPT.clear()
    assert model_of(estimator=Slow(), workers=0).values().tobytes() == values.tobytes()
    assert not in_worker()


def test_many_threads_want_one_model_and_it_is_right_for_all() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: model_of().values().tobytes(), range(8)))
    assert len(set(found)) == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("shown", [True, False])
def test_fits_that_take_long_show_on_a_terminal_how_far_they_are_and_nowhere_else(monkeypatch, shown) -> None:
    screen = Terminal() if shown else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    model_of(estimator=Slow(weight=7.0)).values()
    text = screen.getvalue()
    if shown:
        assert "Slow" in text
        assert "8/8" in text
        assert not text.split("\r")[-1].strip()  # and leaves no trace
    else:
        assert not text
