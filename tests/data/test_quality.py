"""The quality report: its numbers against a hand table and pandas, its page against hostile names."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.cli import main
from knowable.data.quality.rules import Conflict, Jump, read_rule
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import InputError, UnknownNameError

# two entities over five sessions; B lacks Wednesday, is restated once, and repeats itself
SESSIONS = ["2016-02-25", "2016-02-26", "2016-02-29", "2016-03-01", "2016-03-02"]
ROWS = [
    ("A", 0, 10.0, 100.0, "2016-02-26T12:00Z"),
    ("A", 1, 11.0, None, "2016-02-29T12:00Z"),
    ("A", 2, 12.0, 100.0, "2016-03-01T12:00Z"),
    ("A", 3, 12.0, 90.0, "2016-03-02T12:00Z"),
    ("B", 0, 20.0, 50.0, "2016-02-26T12:00Z"),
    ("B", 1, 20.0, 50.0, "2016-02-29T12:00Z"),
    ("B", 1, 25.0, 50.0, "2016-03-01T12:00Z"),
    ("B", 2, 20.0, 50.0, "2016-03-01T12:00Z"),
    ("B", 4, 20.0, 50.0, "2016-03-05T21:00Z"),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD", partial=True))
    frame = pd.DataFrame(ROWS, columns=["entity", "at", "close", "volume", "known_time"])
    bad = pd.DataFrame(
        {"entity": ["A"], "at": [4], "close": [-1.0], "volume": [1.0], "known_time": ["2016-03-03T12:00Z"]}
    )
    frame = pd.concat([frame, bad])
    frame["event_time"] = [SESSIONS[k] for k in frame.pop("at")]
    made.append("bars", frame)
    return made


def test_the_numbers_by_field_are_those_of_a_hand_table(store: Store) -> None:
    table = store.quality("bars").frame("field").set_index("field")
    close, volume, opening = table.loc["close"], table.loc["volume"], table.loc["open"]
    assert (close["rows"], close["missing"], close["restated"]) == (8, 0, 1)
    assert (close["restated_share"], close["change_median"], close["change_max"]) == (1.0, 0.2, 0.2)
    assert (close["low"], close["median"], close["high"]) == (10.0, 16.0, 25.0)
    assert (volume["rows"], volume["missing"], volume["restated"]) == (7, 1, 0)
    assert (opening["rows"], opening["missing"]) == (0, 8), "a field that no row has"


def test_the_numbers_by_entity_and_month_are_those_of_a_hand_table(store: Store) -> None:
    report = store.quality("bars")
    entity = report.frame("entity").set_index("entity")
    names = ["rows", "statements", "restated", "missing", "expected", "gaps", "quarantined"]
    assert entity.loc["A", names].tolist() == [4, 4, 0, 1, 4, 0, 1]
    assert entity.loc["B", names].tolist() == [4, 5, 1, 0, 5, 1, 0]
    assert entity.loc["B", "coverage"] == 0.8
    assert entity.loc["B", "first"] == pd.Timestamp("2016-02-25T21:00Z")
    assert entity.loc["A", ["lag_median_h", "lag_max_h"]].tolist() == [15.0, 63.0]  # over a weekend
    month = report.frame("month").set_index("month")
    assert month.loc["2016-02", names].tolist() == [6, 7, 1, 1, 6, 0, 0]
    assert month.loc["2016-03", names].tolist() == [2, 2, 0, 0, 3, 1, 1]
    assert report.totals["coverage"] == pytest.approx(8 / 9)
    assert report.frame("rule")[["where", "rule", "quarantined"]].to_numpy().tolist() == [
        ["ingest", "price_not_positive", 1]
    ]


def test_a_report_as_of_a_moment_sees_what_was_known_then(store: Store) -> None:
    before = store.quality("bars", as_of="2016-02-29T12:00Z")
    assert (before.totals["rows"], before.totals["restated"], before.totals["quarantined"]) == (4, 0, 0)
    assert "as known at 2016-02-29 12:00Z" in repr(before)
    store.append("bars", pd.DataFrame({"entity": ["C"], "event_time": ["2016-03-02"], "close": [5.0],
                                       "known_time": ["2016-03-03T12:00Z"]}))  # fmt: skip
    assert store.quality("bars").totals["entities"] == 3
    assert store.quality("bars", version=1).totals["entities"] == 2


def test_lags_and_stale_runs_agree_with_pandas_on_random_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"entity": rng.choice(list("ABC"), 400), "x": rng.integers(0, 2, 400).astype(float)})
    rows["event_time"] = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 200, 400), unit="D")
    rows["known_time"] = rows["event_time"] + pd.to_timedelta(rng.integers(1, 500, 400), unit="h")
    rows = rows.drop_duplicates(["entity", "event_time", "known_time"])
    made = Store(tmp_path)
    made.create("facts", Schema.facts(fields={"x": "USD"}))
    made.append("facts", rows)
    report = made.quality("facts")
    first = rows.sort_values("known_time").groupby(["entity", "event_time"]).first().reset_index()
    lag = (first["known_time"] - first["event_time"]).dt.total_seconds() / 3600
    expected = lag.groupby(first["entity"]).quantile(0.95)
    found = report.frame("entity").set_index("entity")
    np.testing.assert_allclose(found["lag_high_h"], expected)
    last = rows.sort_values("known_time").groupby(["entity", "event_time"])["x"].last().reset_index()
    block = (last["x"] != last.groupby("entity")["x"].shift()).cumsum()
    stale = last.groupby(block).cumcount() >= 4
    np.testing.assert_array_equal(found["stale"], stale.groupby(last["entity"]).sum())
    by_period = rows.sort_values("known_time").groupby(["entity", "event_time"])["x"]
    assert report.totals["restated"] == (by_period.diff().fillna(0) != 0).sum()
    assert not report.measures.has_clock
    assert np.isnan(report.totals["coverage"])
    assert "expected rows are there" not in repr(report)


def test_what_cleaning_did_is_counted_once(store: Store) -> None:
    store.clean("bars", [Conflict(limit=0.1, do="quarantine"), read_rule("stale,repeats=2")])
    report = store.quality("bars")
    rules = report.frame("rule").set_index("rule")
    assert rules.loc["conflict:close", ["where", "flagged", "quarantined"]].tolist() == ["cleaning", 0, 1]
    assert rules.loc["stale:close", "flagged"] == 3
    assert report.totals["quarantined"] == 2
    assert report.frame("entity").set_index("entity")["quarantined"].tolist() == [1, 1]
    assert report.frame("field").set_index("field").loc["close", "flagged"] == 4
    assert report.totals["rows"] == 8, "the statement beneath stands again"


def test_an_empty_dataset_has_a_report(tmp_path: Path) -> None:
    made = Store(tmp_path)
    made.create("bars", Schema.bars(calendar="XNYS"))
    report = made.quality("bars")
    assert report.totals["rows"] == 0
    assert len(repr(report).splitlines()) <= 30
    assert "Quality of bars" in report.html()
    assert made.clean("bars").verdicts.num_rows == 0


def test_the_report_is_short_and_its_tables_are_named(store: Store) -> None:
    report = store.quality("bars")
    assert len(repr(report).splitlines()) <= 30
    assert max(len(line) for line in repr(report).splitlines()) <= 120
    assert "8 rows of 2 entities stand, from 9 statements; 1 restated something" in repr(report)
    with pytest.raises(UnknownNameError, match="Did you mean 'month'"):
        report.frame("months")


class Page(HTMLParser):
    """Tags, and everything that could make a browser ask for something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.asks: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.asks += [
            (tag, name) for name, _ in attrs if name in {"src", "href", "xlink:href", "action"} or name[:2] == "on"
        ]


def test_a_page_runs_no_script_asks_for_nothing_and_escapes_every_name(tmp_path: Path) -> None:
    made = Store(tmp_path / "store")
    hostile = "<script>alert(1)</script>"
    field = Schema.field("<img src=x onerror=alert(2)>")
    made.create("facts", Schema.facts(fields={"x": field}))
    made.append(
        "facts",
        pd.DataFrame({"entity": ["A", hostile], "event_time": "2016-03-31T00:00Z", "x": [1.0, 2.0],
                      "known_time": "2016-05-01T12:00Z"}),
    )  # fmt: skip
    report = made.quality("facts")
    target = report.write(tmp_path / "made" / "q.html")
    text = target.read_text(encoding="utf-8")
    for page in (Page(text), Page(report._repr_html_())):
        assert not page.tags & {"script", "img", "iframe", "link", "object", "form"}
        assert page.asks == []
    assert hostile not in text
    assert "&lt;img src=x" in text
    assert "url(" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()
    with pytest.raises(InputError, match="is the folder"):
        report.write(tmp_path)
    assert list((tmp_path / "made").iterdir()) == [target]


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_clean_and_quality_on_the_command_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(store.folder)
    assert main(["clean", "bars", "--store", folder, "--rule", "stale:close,repeats=2", "--dry-run"]) == 0
    assert "would find 3 new verdicts" in capsys.readouterr().out
    assert main(["clean", "bars", "--store", folder, "--rule", "stale:close,repeats=2", "--json"]) == 0
    assert '"rule": "stale:close"' in capsys.readouterr().out
    page = tmp_path / "q.html"
    assert main(["quality", "bars", "--store", folder, "--html", str(page)]) == 0
    assert page.is_file()
    assert "QualityReport: 'bars'" in capsys.readouterr().out
    assert main(["quality", "bars", "--store", folder, "--json"]) == 0
    assert '"rows": 8' in capsys.readouterr().out
    assert main(["clean", "bars", "--store", folder, "--rule", "stail:close"]) == 2
    assert "Did you mean 'stale'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jump,limt=3", "Unknown setting 'limt' in rule 'jump'. Did you mean 'limit'"),
        ("jump,limit", "A setting of a rule is NAME=VALUE, but 'limit' came"),
        ("jump,limit=many", "`limit` of Jump must be a number, but it is 'many'"),
        ("bounds,low=3", "'bounds,low=3' lacks field; bounds takes do, replace, field, low, high"),
    ],
)
def test_a_rule_that_is_misspelt_on_the_command_line_is_refused(text: str, words: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=words):
        read_rule(text)


def test_rules_are_read_as_they_are_written_in_python() -> None:
    written = read_rule("jump:close,limit=8,confirm=back,do=repair,replace=previous")
    assert written == Jump(limit=8, confirm="back", do="repair", replace="previous")
    assert read_rule("stale:open+close,repeats=3").field == ("open", "close")  # type: ignore[union-attr]
