"""Tables and the words and numbers in them."""

import math

import numpy as np
import pandas as pd
import pytest

from knowable.report.tables import (
    MOST_ROWS,
    metric_rows,
    month_rows,
    order_summary,
    rows_table,
    trade_summary,
    trial_table,
)
from knowable.report.wording import chart_text, cut, label, metric_text, money, number, percent

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-1.2345, "−1.234"),
        (0.00012345, "0.0001234"),
        (123456.7, "123,457"),
        (999.96, "1,000.0"),
        (1e-9, "1.000e−09"),
        (NAN, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers_read_well(value, text):
    assert number(value) == text


def test_units_of_metrics():
    assert metric_text("max_drawdown", -0.2) == "−20.0 %"
    assert metric_text("n_trades", 1234.0) == "1,234"
    assert metric_text("sharpe", NAN) == "–"
    assert percent(-0.0001) == "0.0 %"
    assert percent(12.5) == "1,250.0 %"
    assert (money(-1234.4), money(3.0), money(NAN)) == ("−1,234", "3.00", "–")
    assert (label("annual_return"), label("n_trades")) == ("Annual return", "Trades")


def test_foreign_text_is_cut_and_harmless():
    assert cut("a" * 1000, 10) == "a" * 9 + "…"
    assert cut("a\x00b\u202ec\n", 10) == "a b c "
    assert chart_text("<b>&") == "&lt;b&gt;&amp;"


def test_metrics_stand_beside_the_benchmark_with_their_definition(make_page):
    rows = {row.name: row for row in metric_rows(make_page())}
    assert (rows["Sharpe"].shown, rows["Sharpe"].other) == ("0.9000", "0.8000")
    assert "standard deviation" in rows["Sharpe"].definition
    assert (rows["Calmar"].shown, rows["Calmar"].other) == ("–", "–")


def test_months_are_shaded_by_sign_and_newest_year_comes_first(make_page):
    index = pd.to_datetime(["2019-12-31", "2020-01-31", "2020-02-28"])
    equity = pd.Series([100.0, 110.0, 99.0], index=index)
    page = make_page(equity=equity, benchmark=equity * 2, folds=None)
    newest, oldest = month_rows(page)
    assert (newest.year, oldest.year) == (2020, 2019)
    assert [m.text for m in newest.months[:3]] == ["10.0", "−10.0", ""]
    assert newest.months[0].shade == -newest.months[1].shade == 100
    assert newest.total == newest.other == "−1.0 %"


def test_trials_are_listed_best_first_and_failed_last(make_page):
    page = make_page()
    table = trial_table(page)
    place = [name for name, _ in table.columns].index("sharpe")
    keys = [float(row[place].key) for row in table.rows if row[place].key]
    assert keys == sorted(page.trials["sharpe"].dropna(), reverse=True)
    assert [row[place].text for row in table.rows[-4:]] == ["–"] * 4
    assert table.marked == 0
    assert table.note == "60 trials, 4 of them failed."


def test_minimized_trials_are_listed_smallest_first_even_with_repeated_labels(make_page):
    trials = pd.DataFrame({"p": [1, 2, 3], "loss": [3.0, 1.0, 2.0]}, index=[0, 0, 0])
    table = trial_table(make_page(trials=trials, parameters=("p",), objective="loss", maximize=False))
    assert [row[0].text for row in table.rows] == ["2", "3", "1"]


def test_long_table_is_capped_and_says_so(make_page):
    n = MOST_ROWS + 500
    trials = pd.DataFrame({"p": np.arange(n), "sharpe": np.arange(n) / 100})
    table = trial_table(make_page(trials=trials, parameters=("p",), folds=None))
    assert len(table.rows) == MOST_ROWS
    assert table.rows[0][0].text == str(n - 1)
    assert table.note == "1,500 trials. The best 1,000 of 1,500 rows are listed."


def test_cells_of_every_kind():
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2020-01-02 15:30", None]),
            "zoned": pd.to_datetime(["2020-01-02", None]).tz_localize("UTC"),
            "flag": [True, False],
            "mixed": [None, {"a": 1}],
            "n": [-3, 4],
            "nullable": pd.array([1, None], dtype="Int64"),
        }
    )
    table = rows_table(frame, "t")
    assert [cell.text for cell in table.rows[0]] == ["2020-01-02 15:30", "2020-01-02", "yes", "–", "−3", "1"]
    assert [cell.text for cell in table.rows[1]] == ["–", "–", "no", "{'a': 1}", "4", "–"]
    assert [kind for _, kind in table.columns] == ["time", "time", "text", "text", "num", "num"]


def test_order_summary_by_hand(make_page):
    rows = [[cell.text for cell in row] for row in order_summary(make_page().orders).rows]
    assert rows == [
        ["buy", "15", "3,750", "7.50"],
        ["sell", "15", "3,750", "7.50"],
        ["All", "30", "7,500", "15.00"],
    ]


def test_trade_summary_by_hand(make_page):
    rows = [[cell.text for cell in row] for row in trade_summary(make_page().trades).rows]
    assert rows == [
        ["AAA", "10", "100.0 %", "100.00", "10.00", "10.00", "10.00"],
        ["BBB", "10", "0.0 %", "−40.00", "−4.00", "−4.00", "−4.00"],
        ["All", "20", "50.0 %", "60.00", "3.00", "10.00", "−4.00"],
    ]


def test_empty_trades_and_orders_have_a_summary(make_page):
    page = make_page()
    assert [c.text for c in trade_summary(page.trades.head(0)).rows[0]] == ["All", "0", *["–"] * 5]
    assert [c.text for c in order_summary(page.orders.head(0)).rows[0]] == ["All", "0", "0.00", "0.00"]
    assert len(trade_summary(pd.DataFrame()).rows) == 1
