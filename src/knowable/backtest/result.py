"""What a backtest came to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.attribution import (
    attribution_table,
    borrow_rates,
    cash_flows_table,
    contributions_table,
    marks_of,
)
from knowable.backtest.benchmarks import Bars, benchmark_values
from knowable.backtest.capacity import Capacity, capacity_of
from knowable.backtest.named import Named
from knowable.backtest.reasons import Ending
from knowable.backtest.record import LedgerRecord
from knowable.backtest.result_shown import (
    chart_of,
    html_of,
    page_of,
    text_of,
    title_of,
    told_elsewhere,
    unknown_attribute,
)
from knowable.backtest.settings import Settings
from knowable.backtest.tables import (
    Money,
    costs_table,
    drawdowns_table,
    exposure_table,
    flows_table,
    orders_table,
    positions_table,
    trades_table,
    turnover_series,
)
from knowable.metrics.curve import Curve
from knowable.metrics.definitions import METRICS
from knowable.metrics.describe import describe, measure
from knowable.metrics.figures import Figures, figures_of
from knowable.metrics.months import monthly_returns

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

__all__ = ["Result"]


# Not slotted: cached_property keeps each table in the instance once someone has asked for it.
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """A backtest: figures at once, tables when asked for.

    Attributes:
        name: of the strategy.
        params: of the strategy.
        settings: the account it ran on.
        metrics: name -> figure, defined in `knowable.metrics.DEFINITIONS`; NaN where not defined.
        warnings: sentences to read before believing it.
        index: (n_bars,) labels of the bars it ran over.
        times: (n_bars,) int64 ns UTC, the end of each bar.
        days: (n_bars,) datetime64[D], the session each bar belongs to.
        assets: names.
        bars_per_year: what figures were annualised with.
        pins: where the data came from.
        prices: open, high, low and close of its bars, (n_bars, n_assets) each, those that the market has; and
            `borrow_bps_year` where that cost is a field of the market. Prices are quotes, as traded; `money`, where
            there is one, is what a unit of them is worth in the account's currency at each close, and `marks` what a
            position counts for where a bar has no close: the last one at the bar's own rate.
        marks: (n_assets,) last close before the first bar of assets that have none on it; else 0.
        volumes: (n_orders,) volume of the bar each order was filled on, NaN where none; None: the market has no volume.
        record: the ledger's own arrays.
        bar_returns: (n_bars,) what the metrics are made of; see `returns`.
    """

    name: str
    params: Mapping[str, Any]
    settings: Settings
    metrics: Mapping[str, float]
    warnings: tuple[str, ...]
    index: pd.DatetimeIndex
    times: npt.NDArray[np.int64]
    days: npt.NDArray[np.datetime64]
    assets: tuple[str, ...]
    bars_per_year: float
    pins: tuple[Mapping[str, str], ...]
    prices: Mapping[str, npt.NDArray[np.float64]]
    marks: npt.NDArray[np.float64]
    volumes: npt.NDArray[np.float64] | None
    record: LedgerRecord
    bar_returns: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", Named(self.metrics, "metric", "the result", told_elsewhere))
        object.__setattr__(self, "params", Named(self.params, "parameter", self.name or "the result"))

    @cached_property
    def equity(self) -> pd.Series:
        """(n_bars,) account value at each close, in the account's currency, all costs paid."""
        return pd.Series(self.record.equity, index=self.index, name="equity")

    @cached_property
    def returns(self) -> pd.Series:
        """(n_bars,) equity over the one before, less 1; the first against the starting cash. What the metrics use.

        On the bar on which equity comes to nothing it is the true loss, below -1 where a debt is left. While the bar
        before stands at or below 0 there is nothing to earn on, and it is 0. Returns never compound through such a
        bar: `metrics` has NaN for what would need that.
        """
        return pd.Series(self.bar_returns, index=self.index, name="returns")

    @cached_property
    def orders(self) -> pd.DataFrame:
        """A row an order, filled or not, in the order they were settled.

        Columns: asset, decision_time and fill_time (labels of the bars; NaT: not filled), side, size (shares filled),
        price (spread and slippage in it), fee, reason (see `Reason`), wanted (shares asked for; NaN: never sized),
        reference_price (without spread and slippage). Prices are quotes, in the asset's own currency and units; fees
        are in the account's.
        """
        return orders_table(self.record.orders, self.index, self.assets, self._money)

    @cached_property
    def fills(self) -> pd.DataFrame:
        """The rows of `orders` that were filled, in full or in part."""
        return self.orders[self.orders["size"] > 0.0].reset_index(drop=True)

    @cached_property
    def flows(self) -> pd.DataFrame:
        """A row each time that something happened to what was held without a trade.

        Columns: time (label of the bar at whose start it was booked), asset, kind (split, dividend, merger, spin-off,
        funding, roll), shares (change of the position), amount (a split's ratio, a funding rate; else the quote: cash
        a share, what a share received is worth, the step to the next contract), cash (received, or paid below 0, in
        the account's currency; of a roll what it cost). A delisting is an order, see `orders`.
        """
        return flows_table(self.record.orders, self.index, self.assets, self._money)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """A row a closed trade: each fill that reduces a position closes a trade of that size.

        Columns: asset, entry_time (when the position was opened), exit_time, size (signed shares; negative: short),
        entry_price (average), exit_price, pnl (net of the exit's fee and its share of the entry fees; borrow is in
        `costs`), bars (held), mae and mfe (maximum adverse and favourable excursion: the furthest the price was against
        and for the position, fractions of the entry price, by highs and lows where the market has them).
        What is still open at the last bar is no trade; it is in the last row of `positions`. Prices are quotes, `pnl`
        is in the account's currency. Where it was held through a split, sizes and prices are those of after it.
        """
        at_open = self.settings.fill == "next_open"
        return trades_table(
            self.record.orders, self.index, self.assets, self.prices, at_open=at_open, money=self._money
        )

    @cached_property
    def positions(self) -> pd.DataFrame:
        """(n_bars, n_assets) signed shares held at each close."""
        return positions_table(self.record.orders, self.index, self.assets)

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """(n_bars, 4) value of the positions at each close, fractions of equity: long, short (<= 0), gross, net.

        NaN while equity is at or below 0. A position counts at the asset's last close.
        """
        positions = self.positions.to_numpy()
        return exposure_table(positions, self._marks(), self.record.equity, self.index)

    @cached_property
    def turnover(self) -> pd.Series:
        """(n_bars,) value bought plus value sold on each bar, at reference prices, over equity at its close.

        A roll sells one contract and buys the next; other actions, delistings too, trade nothing. NaN while equity is
        at or below 0.
        Its mean weighted by equity, times `bars_per_year`, is ``metrics["turnover"]``.
        """
        return turnover_series(self.record.orders, self._marks(), self.record.equity, self.index)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """(n_bars, 6) what each bar cost: fees, spread, slippage, impact, borrow, margin_interest.

        ``result.costs.sum()`` gives the totals.
        """
        return costs_table(self.record.bars, self.index)

    @cached_property
    def attribution(self) -> pd.DataFrame:
        """(n_bars, 10) why equity changed on each bar; a row sums to equity less the one before, the first's cash.

        Columns: gain (what was held times the move of its close, what was traded times the way from its reference price
        to the close), what it cost, <= 0 (fees, spread, slippage, impact, borrow, margin_interest), and what else came
        in or went out (interest, dividends, funding). `gain` is counted from shares and prices, never from equity.
        ``result.attribution.sum()`` gives the totals.
        """
        return attribution_table(self._marks(), self.record.orders, self.record.bars, self.index)

    @cached_property
    def cash_flows(self) -> pd.DataFrame:
        """(n_bars, 9) why cash changed on each bar; a row sums to cash less the one before, the first's the start.

        Columns: trades (sales less purchases at the prices paid, which have spread, slippage and impact in them), fees,
        borrow, margin_interest (<= 0), interest, dividends, funding, actions (cash of mergers, and for fractions of
        shares), settled (what futures gained or lost, fees left out: they are never bought, but settled each bar).
        """
        return cash_flows_table(self._marks(), self.record.orders, self.record.bars, self._unfunded, self.index)

    @cached_property
    def contributions(self) -> pd.DataFrame:
        """(n_assets, 4) what each asset brought over the whole run, in currency.

        Columns: gain (as in `attribution`, with its dividends and funding), costs (<= 0: fees, what fills were worse
        than their reference price, and borrow, shared out by the value of each short times its rate), net, share (of
        all assets' net; NaN where that is 0). Interest is of no asset: with it, net is what equity gained.
        """
        rates = borrow_rates(self.settings.costs.borrow_bps_year, self.prices, self.assets)
        return contributions_table(self._marks(), self.record.orders, self.record.bars, rates, self.assets)

    def _marks(self) -> npt.NDArray[np.float64]:
        close = self.prices["marks"] if "marks" in self.prices else self.prices["close"] * self.prices.get("money", 1.0)
        return marks_of(close, self.marks, self.record.orders)

    @property
    def _money(self) -> Money | None:
        """What a unit of a price is worth when orders fill and when actions are booked; None: prices are money."""
        if "money" not in self.prices:
            return None
        ends = self.prices["money"]
        before = np.concatenate([ends[:1], ends[:-1]])
        return Money(before if self.settings.fill == "next_open" else ends, before)

    @property
    def _unfunded(self) -> npt.NDArray[np.bool_]:
        """(n_assets,) futures and perpetuals."""
        return self.prices["funded"][0] == 0.0 if "funded" in self.prices else np.zeros(len(self.assets), bool)

    @cached_property
    def cash(self) -> pd.Series:
        """(n_bars,) cash at each close; proceeds of short sales are in it."""
        from knowable.kernels.account import BAR_CASH

        return pd.Series(self.record.bars[:, BAR_CASH], index=self.index, name="cash")

    @property
    def ending(self) -> Ending:
        """How the run ended."""
        return Ending.COMPLETED if self.record.liquidated_at < 0 else Ending.LIQUIDATED

    def stats(self, benchmark: pd.Series | Result | str | None = None, *, risk_free: float = 0.0) -> Figures:
        """All figures that are known of an account: a mapping by name that draws itself; `.frame()` has definitions.

        Args:
            benchmark: what to compare with; the figures then have the benchmark's beside them. A Series of prices or
                values by time, the first the start: on this result's index, or with a value of the day of each bar,
                since the bar before, or of its own longer period. Another result. The name of an asset: its closes. Or
                ``"buy_and_hold"``: all assets that have a price by the first bar, bought in equal parts at its close
                and held; with dividends where the market's prices are adjusted for them.
            risk_free: a year's riskless rate, a fraction such as 0.03. `metrics` has the ratios at 0.

        Returns: figures; NaN where one is not defined. Of an account that was ruined only those in `metrics`.

        Raises:
            ShapeError: a bar without a value of the benchmark.
            UnknownNameError: the benchmark is a text that names no asset.
            InputError: values of the benchmark that are not finite or not above 0, or a rate that makes no sense.
        """
        if self.bar_returns.min() <= -1.0:
            return Figures(self.metrics, title=title_of(self))
        curve = self._curve(self.bar_returns, risk_free)
        if benchmark is None:
            return Figures(figures_of(curve, self.metrics), title=title_of(self))
        values, initial = self._benchmark(benchmark)
        unknown = np.full(4, np.nan)
        figures, returns, _ = measure(values, math.nan if initial is None else initial, self.bars_per_year, unknown)
        other = self._curve(np.nan_to_num(returns, nan=0.0), risk_free)
        measured = dict(zip(METRICS, figures.tolist(), strict=True))
        return Figures(
            figures_of(curve, self.metrics, other), benchmark=figures_of(other, measured), title=title_of(self)
        )

    @cached_property
    def drawdowns(self) -> pd.DataFrame:
        """A row a time that equity was below its highest value so far, the deepest first.

        Columns: start (label of the high before; NaT: the starting cash), valley, end (label of the bar that was as
        high again; NaT: none was), depth (a fraction below 0), days (calendar days from start to end, or to the last).
        """
        return drawdowns_table(self.equity.to_numpy(), self.settings.cash, self.days, self.index)

    @cached_property
    def monthly(self) -> pd.DataFrame:
        """(n_years, 13) return of each calendar month, and of the ``year``; the first counts from the starting cash.

        NaN where no bar is, for a month that starts at or below 0, and for the year of such a month.
        """
        return monthly_returns(self.record.equity, self.days, self.settings.cash)

    def _curve(self, returns: npt.NDArray[np.float64], risk_free: float) -> Curve:
        return Curve(returns=returns, days=self.days, bars_per_year=self.bars_per_year, risk_free=risk_free)

    def compare(self, benchmark: pd.Series | Result | str) -> pd.DataFrame:
        """This result beside a benchmark, a row a metric that an equity curve alone defines.

        Args:
            benchmark: what to compare with, as for `stats`.

        Returns: columns ``result``, ``benchmark``, ``difference``.

        Raises: as `stats`.
        """
        values, initial = self._benchmark(benchmark)
        theirs = describe(values, self.bars_per_year, initial=initial)
        own = pd.Series(dict(self.metrics))
        table = pd.DataFrame({"result": own, "benchmark": pd.Series(theirs)})
        table = table.drop(index=["turnover", "n_trades", "exposure", "win_rate"])
        return table.assign(difference=table["result"] - table["benchmark"])

    def capacity(self, *, limit: float = 0.1, share: float = 0.95, impact: float | None = None) -> Capacity:
        """Estimate how large the account could be, from what its fills were of the volume of their bars.

        A fill's participation is its size over its bar's volume, both in shares. Were all sizes multiplied by m, each
        would be m times as much of the same volume; what it costs by the square-root law, `impact` x price x
        sqrt(participation) a share, then grows with sqrt(m) as a share of the account, and what it earns before that
        does not change. So the multiple at which impact takes half of the gross return g is (g / 2 / c) ** 2, with c
        what it takes a year at multiple 1; both are arithmetic means of bars.

        It says nothing of what a larger account would do to prices beyond the bar, nor of others who trade the same.

        Args:
            limit: largest participation allowed.
            share: share of the fills that must stay within it; the rest may exceed it.
            impact: share of the price that a fill as large as its bar's volume costs, as `Costs.impact`; None: what the
                run itself paid for impact.

        Raises: InputError for a market without volume, a run without fills, or a number that is not above 0.

        Source: Perold and Salomon, The Right Amount of Assets Under Management, Financial Analysts Journal 47 (1991),
        for capacity; `knowable.kernels.account.worse_by` for the law.
        """
        record = self.record
        return capacity_of(
            record.orders,
            self.volumes,
            record.bars,
            record.equity,
            self.bar_returns,
            cash=self.settings.cash,
            bars_per_year=self.bars_per_year,
            limit=limit,
            share=share,
            impact=impact,
        )

    def plot(self, benchmark: pd.Series | Result | str | None = None, *, asset: str | None = None) -> PlotlyFigure:
        """Draw it: equity, the fall below the highest value so far, exposure; with an asset, its price and fills too.

        Args:
            benchmark: what to compare with, as for `stats`.
            asset: whose price and fills to draw. None: those of the only one, none where there are several.

        Returns: a Plotly figure, which a notebook shows.

        Raises: UnknownNameError for an asset that is none; as `stats` for the benchmark.
        """
        values = None if benchmark is None else self._benchmark(benchmark)[0]
        return chart_of(self, values, asset)

    def report(
        self, path: str | Path, *, benchmark: pd.Series | Result | str | None = None, title: str | None = None
    ) -> Path:
        """Write one self-contained HTML file and return its path.

        Args:
            path: where to.
            benchmark: what to compare with, as for `stats`.
            title: first line of the page; the strategy and its parameters when None.

        Raises: InputError if `path` is a folder or nothing can be written there; as `stats` for the benchmark.
        """
        from knowable.report.document import write

        found = None if benchmark is None else self._benchmark(benchmark)
        return Path(write(page_of(self, found, title), path))

    def save(self, folder: str | Path) -> Path:
        """Write it as Arrow and JSON into a folder of its own, all or nothing; `Result.load` reads it back.

        Tables are not written: they are made again, to the bit, from the prices and the ledger's record, which take
        8 bytes a price and about 60 an order. Times of the index keep unit, zone and name; a frequency comes back
        where its name says all of it.

        Args:
            folder: is made if absent; a result saved there before is replaced.

        Returns: the folder.

        Raises: InputError if the folder holds something else or cannot be written, or for a parameter that is not
            text, number, boolean or None, or a list or dict of them.
        """
        from knowable.backtest.result_files import save_result

        return save_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a result that `save` wrote; every file is checked against its checksum, and read, not mapped.

        Raises: InputError if there is none, or one of a newer release; DataError if a file is damaged, cut or absent.
        """
        from knowable.backtest.result_files import load_fields

        return cls(**load_fields(folder))

    def _benchmark(self, given: pd.Series | Result | str) -> tuple[npt.NDArray[np.float64], float | None]:
        """(n_bars,) values of a benchmark, and what it was before the first; None: the first is the start."""
        bars = Bars(
            index=self.index,
            times=self.times,
            days=self.days,
            assets=self.assets,
            close=self.prices.get("total_return", self.prices["close"]),
            before=self.marks,
        )
        if isinstance(given, Result):
            values = benchmark_values(given.equity, bars)
            return values, given.settings.cash if given.index.equals(self.index) else None
        return benchmark_values(given, bars), None

    if not TYPE_CHECKING:  # a checker would take every name for one

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(name)
            if name in dir(type(self)):  # one of ours that failed with such an error: let it say so itself
                object.__getattribute__(self, name)
            raise unknown_attribute(name, dir(self), self.metrics)

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, ({each.name: _opened(getattr(self, each.name)) for each in fields(self)},)  # tables follow

    def __repr__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:
        return html_of(self)


def _opened(value: Any) -> Any:
    """A field without the locks on its mappings, which pickle does not know."""
    if isinstance(value, MappingProxyType):
        return dict(value)
    return tuple(_opened(each) for each in value) if type(value) is tuple else value


def _made_again(state: dict[str, Any]) -> Result:
    locked: dict[str, Any] = {
        name: MappingProxyType(value) if isinstance(value, dict) else value for name, value in state.items()
    }
    locked["pins"] = tuple(MappingProxyType(pin) for pin in state["pins"])
    return Result(**locked)
