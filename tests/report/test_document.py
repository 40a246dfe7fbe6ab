"""The HTML file, checked without a browser."""

import re

import numpy as np
import pandas as pd
import pytest

from knowable.errors import InputError
from knowable.report import Page, render, write

SECTIONS = [
    "verdict", "warnings", "performance", "months", "attribution", "parameters", "folds", "trials", "trading", "facts",
]  # fmt: skip


def sections(text):
    return re.findall(r'<section id="([a-z]+)"', text)


def test_full_page_has_every_section(make_page):
    assert sections(render(make_page())) == SECTIONS


def test_single_backtest_has_no_section_of_a_search(make_walk):
    assert sections(render(Page(title="t", equity=make_walk(50)))) == ["verdict", "performance", "months"]


def test_same_page_gives_same_bytes_and_replaces_the_file(make_page, tmp_path):
    path = write(make_page(), tmp_path / "deep" / "report.html")
    first = path.read_bytes()
    assert write(make_page(), path).read_bytes() == first
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_a_folder_as_path_is_refused(make_page, tmp_path):
    with pytest.raises(InputError, match="is the folder"):
        write(make_page(), tmp_path)


def test_file_loads_nothing_from_elsewhere(make_page):
    text = render(make_page())
    ours = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!#|data:)', ours) == []
    assert text.count("default-src 'none'") == 1


def test_attribution_tells_totals_and_what_each_asset_brought(make_page):
    text = render(make_page())
    table = re.search(r'id="attribution-table".*?</table>', text, flags=re.DOTALL).group()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", table)
    assert cells == ["Gain", "900.00", "Fees", "−30.00", "Interest", "3.00", "Change of equity", "873.00"], (
        "no empty kinds"
    )
    table = re.search(r'id="by-asset-table".*?</table>', text, flags=re.DOTALL).group()
    assert "&lt;b&gt;AAA&lt;/b&gt;" in table
    assert table.index("775") < table.index("BBB")


def test_verdict_follows_the_worst_doubt(make_page):
    doubts = make_page().doubts
    assert "Do not rely on this result: 1 of 3 tests of luck speaks against it." in render(make_page())
    assert "Take care: 1 of 2 tests of luck asks for caution." in render(make_page(doubts=doubts[1:]))
    assert "No sign of luck in one test of luck." in render(make_page(doubts=doubts[2:]))
    assert "No test of luck was made" in render(make_page(doubts=()))


def test_thinned_curve_says_so():
    index = pd.date_range("2020-01-01", periods=12_000, freq="min")
    text = render(Page(title="t", equity=pd.Series(np.linspace(1.0, 2.0, 12_000), index=index)))
    assert "at most about 5,000 of 12,000 bars" in text


@pytest.mark.parametrize(
    "values", [[5.0], [5.0, 5.0, 5.0], [np.nan, np.nan], [np.nan, 1.0, np.nan], [3.0, 0.0, -2.0], [0.0, 0.0]]
)
def test_odd_equity_still_gives_a_page(values):
    index = pd.bdate_range("2020-01-01", periods=len(values))
    equity = pd.Series(values, index=index)
    text = render(Page(title="t", equity=equity, benchmark=equity))
    assert sections(text) == ["verdict", "performance", "months"]
    assert ("disabled title=" in text) is not bool((equity.dropna() > 0).all())


def test_odd_tables_still_give_a_page(make_page):
    page = make_page()
    render(make_page(trades=page.trades.head(0), orders=page.orders.head(0), trials=page.trials.head(0), folds=None))
    render(make_page(trials=page.trials.head(1), folds=page.folds.head(1)))
    render(make_page(objective=None))
    render(make_page(parameters=()))
    render(make_page(metrics={}, benchmark_metrics=None, benchmark=None, doubts=(), facts={}))


def test_huge_and_broken_text_still_gives_a_page(make_page, tmp_path):
    page = make_page(title="x" * 10_000 + "\ud800", subtitle="\ud800 \x00 \u202e", facts={"k" * 5000: "v" * 50_000})
    assert write(page, tmp_path / "r.html").stat().st_size > 1_000_000
