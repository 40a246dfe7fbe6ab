"""The sample data are what their README says, and the README's block runs."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

SAMPLES = Path(__file__).parents[2] / "data-samples"
README = (SAMPLES / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_every_file_with_its_rows_and_a_licence_that_is_there() -> None:
    rows = dict(re.findall(r"^\| `([\w.-]+)` .*?\| ([\d,]+) \|", README, re.MULTILINE))
    files = sorted(path.name for path in SAMPLES.glob("*.csv.gz"))
    assert sorted(rows) == files
    for name, count in rows.items():
        with gzip.open(SAMPLES / name, "rt", encoding="utf-8") as file:
            assert sum(1 for _ in file) - 1 == int(count.replace(",", ""))
    for licence in re.findall(r"\((licences/[^)]+)\)", README):
        assert (SAMPLES / licence).stat().st_size > 500
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 1_500_000


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(SAMPLES.parent)
        exec(code[1], names)  # noqa: S102 - our own documentation
    return names


def test_the_readme_block_runs_and_nothing_is_quarantined(loaded: dict[str, Any]) -> None:
    store = loaded["store"]
    assert all(store.quarantine(name).num_rows == 0 for name in store.datasets())
    assert loaded["market"].shape == (5785, 20)
    assert set(loaded["market"].panels) == {"close"}
    assert loaded["first_look"].num_rows == 97


def test_prices_keep_their_original_digits(loaded: dict[str, Any]) -> None:
    market = loaded["market"]
    frame = pd.read_csv(SAMPLES / "us-large-caps.csv.gz").pivot_table(
        index="event_time", columns="entity", values="close"
    )
    np.testing.assert_array_equal(market.panel("close"), frame.loc["2000-01-01":].to_numpy())
    assert frame.loc["1990-01-02", "AAPL"] == 0.264


def test_vintages_answer_what_was_known_then(loaded: dict[str, Any]) -> None:
    store = loaded["store"]
    raw = pd.read_csv(SAMPLES / "brazil-gdp-vintages.csv.gz").query("entity == 'pib'")
    clock = pd.date_range("2010-06-01", "2026-09-05", freq="50D", tz="UTC")
    panel = store.panel("gdp", "value", clock=clock, entities=["pib"])[:, 0]
    for moment, value in zip(clock, panel, strict=True):
        # a date counts as known when its day is over in Sao Paulo
        known = raw[
            pd.to_datetime(raw["known_time"]).dt.tz_localize("America/Sao_Paulo") + pd.Timedelta(days=1) <= moment
        ]
        newest = known.sort_values(["event_time", "known_time"])["value"].iloc[-1] if len(known) else np.nan
        np.testing.assert_equal(value, newest)
