"""`Run`: what a search found, with the doubt it carries."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from knowable.experiments.spec import RunSpec
from knowable.report.page import Doubt, Page

__all__ = ["Run", "Summary"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Run:
    """A finished search.

    Attributes:
        name: the run's name; its folder bears it.
        folder: where it is kept.
        spec: what was asked, with the pins of code, data and versions.
        best: parameters to trade next: the best of all, or those of the last fold.
        parameters: names of the strategy's parameters.
        trials: a row a trial: study, number, the parameters, the metrics, source, error.
        folds: a row a fold: its dates, its best parameters, the objective in_sample and out_of_sample.
        equity: account value after each bar; out of sample and stitched for a walk-forward, else in sample.
        benchmark: what buying the market and holding it made of the same cash, on the same bars.
        metrics: of `equity`.
        benchmark_metrics: of `benchmark`.
        orders: every order behind `equity`.
        trades: every closed trade behind `equity`.
        doubts: how likely the result is luck.
        warnings: sentences that belong to the result.
        reason: why the search ended.
    """

    name: str
    folder: Path
    spec: RunSpec
    best: dict[str, Any]
    parameters: tuple[str, ...]
    trials: pd.DataFrame
    folds: pd.DataFrame
    equity: pd.Series
    benchmark: pd.Series
    metrics: Mapping[str, float]
    benchmark_metrics: Mapping[str, float]
    orders: pd.DataFrame
    trades: pd.DataFrame
    doubts: tuple[Doubt, ...]
    warnings: tuple[str, ...]
    reason: str

    @property
    def in_sample(self) -> bool:
        """Whether `equity` is of the very bars the parameters were chosen on."""
        return self.spec.kind != "walk_forward"

    @property
    def page(self) -> Page:
        """The run as a report's page."""
        first, last = self.equity.index[0], self.equity.index[-1]
        kind = "In sample" if self.in_sample else "Out of sample, stitched from every fold"
        return Page(
            title=f"{self.spec.strategy}: {self.spec.kind.replace('_', '-')}",
            subtitle=f"{kind}, {first:%Y-%m-%d} to {last:%Y-%m-%d}; {len(self.trials):,} trials.",
            equity=self.equity,
            initial=self.spec.account().cash,
            benchmark=self.benchmark,
            metrics=self.metrics,
            benchmark_metrics=self.benchmark_metrics,
            warnings=self.warnings,
            facts=self._facts(),
            folds=None if self.in_sample else self.folds,
            trials=self.trials,
            parameters=self.parameters,
            objective=self.spec.objective,
            maximize=self.spec.direction == "maximize",
            doubts=self.doubts,
            orders=self.orders,
            trades=self.trades,
        )

    def report(self, path: str | Path) -> Path:
        """Write the run as one HTML file that needs nothing else, and return its path."""
        from knowable.report.document import write

        return write(self.page, path)

    def summary(self) -> Summary:
        """The run in a screenful: print it, or let a notebook show it."""
        return Summary(self)

    def _facts(self) -> dict[str, str]:
        market, code = self.spec.market, self.spec.code
        pins = "; ".join(f"{p['dataset']} at version {p['version']}, as of {p['as_of']}" for p in market["pins"])
        return {
            "Run": self.name,
            "Data": pins or "frames handed in",
            "Market": f"{market['n_bars']} bars x {market['n_assets']} assets, hash {market['fingerprint'][:16]}",
            "Strategy code": f"{code['qualname']}, hash {code['fingerprint'][:16]}",
            "Account": ", ".join(f"{name}={value}" for name, value in self.spec.settings.items()),
            "Search": f"{self.spec.direction} {self.spec.objective}, {self.spec.sampler}, seed {self.spec.seed}",
            "Versions": ", ".join(f"{name} {release}" for name, release in self.spec.versions.items()),
            "Ended": self.reason,
        }

    def __repr__(self) -> str:
        score = self.metrics.get(self.spec.objective, float("nan"))
        where = "in sample" if self.in_sample else "out of sample"
        return (
            f"Run({self.name}: {len(self.trials)} trials, {self.spec.objective} {score:.3g} {where}, best {self.best})"
        )


class Summary:
    """A run in words and a few figures; its text is what `print` shows."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __str__(self) -> str:
        run, spec = self.run, self.run.spec
        failed = int(run.trials["error"].notna().sum())
        lines = [
            f"{spec.strategy}, {spec.kind.replace('_', '-')}: {len(run.trials)} trials in {len(run.folds)} folds"
            if not run.in_sample
            else f"{spec.strategy}, optimize: {len(run.trials)} trials",
        ]
        if failed:
            lines[0] += f", {failed} failed"
        lines += ["", self._folds(), ""] if not run.in_sample else ["", f"Best parameters: {run.best}", ""]
        lines += [self._metrics(), ""]
        lines += [_wrapped(f"{doubt.name}: {doubt.shown}. {doubt.sentence}") for doubt in run.doubts]
        lines += [_wrapped(f"Warning: {warning}") for warning in run.warnings]
        return "\n".join(lines)

    def _folds(self) -> str:
        table = self.run.folds.copy()
        for name in ("train_start", "test_start", "test_end"):
            if name in table.columns:
                table[name] = [f"{moment:%Y-%m-%d}" for moment in table[name]]
        return str(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))

    def _metrics(self) -> str:
        run = self.run
        label = "in sample" if run.in_sample else "out of sample"
        names = ["total_return", "annual_return", "annual_volatility", "sharpe", "max_drawdown", "turnover", "n_trades"]
        rows = {name: [run.metrics.get(name), run.benchmark_metrics.get(name)] for name in names}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=[label, "benchmark"])
        return str(table.to_string(float_format=lambda x: f"{x:.4g}", na_rep="-"))

    __repr__ = __str__  # a notebook without HTML, and the prompt, show the text too

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, subsequent_indent="  ")
