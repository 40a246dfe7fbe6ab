"""Tables as the page prints them: text, a sort key and a class for each cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from knowable.metrics.months import monthly_returns
from knowable.report.page import Page
from knowable.report.wording import (
    ABSENT,
    cut,
    definitions,
    label,
    metric_text,
    money,
    percent,
)

__all__ = [
    "MOST_ROWS",
    "Cell",
    "MetricRow",
    "Month",
    "Table",
    "Year",
    "asset_table",
    "attribution_table",
    "fold_table",
    "metric_rows",
    "month_rows",
    "order_summary",
    "rows_table",
    "trade_summary",
    "trial_table",
]

MOST_ROWS = 1_000
_MOST_TEXT = 160
_MOST_ASSETS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One table cell. `key` is what sorting compares; `kind` is a CSS class."""

    text: str
    key: str = ""
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table ready to print. `marked` is the row to highlight; `note` says what was left out."""

    caption: str
    columns: tuple[tuple[str, str], ...]  # (name, CSS class)
    rows: tuple[tuple[Cell, ...], ...]
    marked: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric against the benchmark."""

    name: str
    shown: str
    other: str
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One cell of the monthly table; `shade` runs from -100 (deepest loss) to 100."""

    text: str
    shade: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """One row of the monthly table."""

    year: int
    months: tuple[Month, ...]
    total: str
    other: str | None


def metric_rows(page: Page) -> list[MetricRow]:
    """All metrics in the page's order, then those only the benchmark has."""
    known = definitions()
    other = page.benchmark_metrics or {}
    names = [*page.metrics, *(name for name in other if name not in page.metrics)]
    return [
        MetricRow(
            name=cut(label(str(name)), 60),
            shown=metric_text(name, page.metrics.get(name, math.nan)),
            other=metric_text(name, other.get(name, math.nan)),
            definition=str(known.get(name, "")),
        )
        for name in names
    ]


def month_rows(page: Page) -> list[Year]:
    """The monthly table, the newest year first as a reader looks for it."""
    labels = pd.DatetimeIndex(page.equity.index).tz_localize(None).to_numpy()
    days = labels.astype("datetime64[D]") if page.days is None else page.days
    table = monthly_returns(page.equity.to_numpy(dtype=np.float64, na_value=np.nan), days, page.initial)
    other = None
    if page.benchmark is not None:
        other = monthly_returns(page.benchmark.to_numpy(dtype=np.float64, na_value=np.nan), days)
    months = table[list(range(1, 13))].to_numpy(dtype=np.float64)
    sizes = np.abs(months[np.isfinite(months)])
    # the 95th percentile is full shade: one crash must not leave all other months blank
    full = float(np.percentile(sizes, 95)) if sizes.size else 1.0
    years = []
    for row, year in enumerate(table.index):
        cells = tuple(_month(value, full) for value in months[row])
        theirs = None
        if other is not None:
            theirs = percent(float(other["year"].get(year, math.nan)))
        years.append(Year(year=int(year), months=cells, total=percent(float(table["year"].iloc[row])), other=theirs))
    return years[::-1]


def _month(value: float, full: float) -> Month:
    if math.isnan(value):
        return Month(text="", shade=0)
    shade = round(100 * max(-1.0, min(1.0, value / full))) if full > 0 else 0
    return Month(text=percent(value).removesuffix(" %"), shade=shade)


def trial_table(page: Page) -> Table | None:
    """Trials, the best first and failed ones last; beyond the cap only the best are listed."""
    if page.trials is None:
        return None
    trials = page.trials
    note = ""
    best = None
    if page.objective is not None:
        value = pd.to_numeric(trials[page.objective], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        value = np.where(np.isfinite(value), value, np.nan)
        n_failed = int(np.isnan(value).sum())
        # argsort puts NaN last either way, and is stable: equal trials stay in the order tried
        trials = trials.iloc[np.argsort(-value if page.maximize else value, kind="stable")]
        best = 0 if n_failed < len(trials) else None
        note = f"{len(trials):,} trials, {n_failed:,} of them failed." if n_failed else f"{len(trials):,} trials."
    return rows_table(trials, "Trials", marked=best, note=note, which="best" if page.objective else "first")


def fold_table(page: Page) -> Table | None:
    """Folds as they came."""
    return None if page.folds is None or page.folds.empty else rows_table(page.folds, "Folds")


def order_summary(orders: pd.DataFrame) -> Table:
    """Number, turnover and fees of the orders by side."""
    frame = orders.reset_index(drop=True)
    columns = set(frame.columns)
    groups: list[tuple[str, pd.DataFrame]] = []
    if "side" in columns:
        groups = [(cut(side, 40), part) for side, part in frame.groupby(frame["side"].astype(str), sort=True)]
    groups.append(("All", frame))
    rows = []
    for name, part in groups:
        row = [Cell(text=name), _count(len(part))]
        if {"size", "price"} <= columns:
            row.append(_money(float((_numbers(part["size"]).abs() * _numbers(part["price"])).sum())))
        if "fee" in columns:
            row.append(_money(float(_numbers(part["fee"]).sum())))
        rows.append(tuple(row))
    names = [("Side", "text"), ("Orders", "num")]
    names += [("Traded value", "num")] * ({"size", "price"} <= columns) + [("Fees", "num")] * ("fee" in columns)
    return Table(caption="Orders by side", columns=tuple(names), rows=tuple(rows))


def trade_summary(trades: pd.DataFrame) -> Table:
    """Number, winners and profit of the trades by asset, the largest profit or loss first."""
    frame = trades.reset_index(drop=True)
    pnl = _numbers(frame["pnl"]) if "pnl" in frame.columns else pd.Series(np.nan, index=frame.index)
    groups: list[tuple[str, pd.Series]] = []
    note = ""
    if "asset" in frame.columns:
        groups = [(cut(asset, 60), part) for asset, part in pnl.groupby(frame["asset"].astype(str), sort=True)]
        groups.sort(key=lambda item: -abs(float(item[1].sum())))
        if len(groups) > _MOST_ASSETS:
            note = f"The {_MOST_ASSETS} of {len(groups):,} assets with the largest profit or loss."
            groups = groups[:_MOST_ASSETS]
    groups.append(("All", pnl))
    names = ("Asset", "Trades", "Winners", "Profit", "Mean", "Best", "Worst")
    return Table(
        caption="Trades by asset",
        columns=tuple((name, "text" if i == 0 else "num") for i, name in enumerate(names)),
        rows=tuple(_trade_row(name, part) for name, part in groups),
        note=note,
    )


def _trade_row(name: str, pnl: pd.Series) -> tuple[Cell, ...]:
    known = pnl.dropna()
    winners = float((known > 0).mean()) if len(known) else math.nan
    figures = (known.sum(), known.mean(), known.max(), known.min()) if len(known) else (math.nan,) * 4
    share = Cell(text=percent(winners), key=_key(winners), kind="num")
    return (Cell(text=name, key=name), _count(len(pnl)), share, *(_money(float(v)) for v in figures))


def attribution_table(page: Page) -> Table | None:
    """What each kind of gain and cost came to over the whole span; kinds that brought nothing are left out."""
    if page.attribution is None or page.attribution.empty:
        return None
    totals = page.attribution.sum().to_dict()
    rows = [(Cell(text=label(str(name))), _money(float(value))) for name, value in totals.items() if value != 0.0]
    rows.append((Cell(text="Change of equity"), _money(float(sum(totals.values())))))
    return Table(caption="Gains and costs", columns=(("Kind", "text"), ("Total", "num")), rows=tuple(rows))


def asset_table(page: Page) -> Table | None:
    """What the assets that brought or cost most came to."""
    if page.contributions is None or page.contributions.empty:
        return None
    frame = page.contributions
    most = frame["net"].abs().sort_values(ascending=False, kind="stable").index[:_MOST_ASSETS]
    rows = []
    for name, row in frame.loc[most].iterrows():
        share = float(row["share"])
        figures = (_money(float(row["gain"])), _money(float(row["costs"])), _money(float(row["net"])))
        rows.append(
            (
                Cell(text=cut(str(name), 60), key=str(name)),
                *figures,
                Cell(text=percent(share), key=_key(share), kind="num"),
            )
        )
    names = ("Asset", "Gain", "Costs", "Net", "Share")
    note = (
        f"The {_MOST_ASSETS} of {len(frame):,} assets that brought or cost most." if len(frame) > _MOST_ASSETS else ""
    )
    columns = tuple((name, "text" if i == 0 else "num") for i, name in enumerate(names))
    return Table(caption="By asset", columns=columns, rows=tuple(rows), note=note)


def rows_table(
    frame: pd.DataFrame, caption: str, *, marked: int | None = None, note: str = "", which: str = "first"
) -> Table:
    """A DataFrame as it is, at most `MOST_ROWS` rows of it and saying so."""
    shown = frame.head(MOST_ROWS)
    if len(frame) > MOST_ROWS:
        note = f"{note} The {which} {MOST_ROWS:,} of {len(frame):,} rows are listed.".strip()
    columns = [list(_column(shown.iloc[:, i])) for i in range(shown.shape[1])]
    kinds = [_kind(column) for column in columns]
    names = tuple((cut(name, 80), kind) for name, kind in zip(frame.columns, kinds, strict=True))
    return Table(caption=caption, columns=names, rows=tuple(zip(*columns, strict=True)), marked=marked, note=note)


def _column(column: pd.Series) -> Iterable[Cell]:
    if pd.api.types.is_datetime64_any_dtype(column):
        return _times(pd.DatetimeIndex(column).tz_localize(None))
    name = str(column.name)
    return [_cell(value, name) for value in column]


def _times(times: pd.DatetimeIndex) -> list[Cell]:
    known = times.dropna()
    texts = times.strftime("%Y-%m-%d" if bool((known == known.normalize()).all()) else "%Y-%m-%d %H:%M")
    keys = times.as_unit("ns").astype("int64")
    return [
        Cell(text=ABSENT, kind="time") if absent else Cell(text=str(text), key=str(key), kind="time")
        for text, key, absent in zip(texts, keys, times.isna(), strict=True)
    ]


def _cell(value: object, column: str) -> Cell:
    if value is None or value is pd.NaT or value is pd.NA:
        return Cell(text=ABSENT)
    if isinstance(value, bool | np.bool_):
        return Cell(text="yes" if value else "no", key=str(int(value)))
    if isinstance(value, int | np.integer):
        return Cell(text=str(int(value)).replace("-", "−"), key=str(int(value)), kind="num")
    if isinstance(value, float | np.floating):
        return Cell(text=metric_text(column, float(value)), key=_key(float(value)), kind="num")
    if isinstance(value, pd.Timestamp):  # in a column of mixed kinds
        return Cell(text=value.strftime("%Y-%m-%d %H:%M"), key=str(value.value), kind="time")
    return Cell(text=cut(value, _MOST_TEXT), key=cut(value, _MOST_TEXT))


def _kind(cells: Sequence[Cell]) -> str:
    kinds = {cell.kind for cell in cells if cell.text != ABSENT}
    return kinds.pop() if len(kinds) == 1 else "text"


def _key(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce")


def _count(n: int) -> Cell:
    return Cell(text=f"{n:,}", key=str(n), kind="num")


def _money(value: float) -> Cell:
    return Cell(text=money(value), key=_key(value), kind="num")
