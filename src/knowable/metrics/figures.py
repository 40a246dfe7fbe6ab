"""All figures of a curve, as a mapping that draws itself."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from knowable.errors import UnknownKeyError, unknown_name
from knowable.metrics.catalogue import FAMILIES, FIGURES, Unit
from knowable.metrics.curve import Curve
from knowable.metrics.growth import drawdown_figures, growth_figures
from knowable.metrics.relative import relative_figures
from knowable.metrics.risk import bar_figures, risk_figures, tail_figures

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Figures", "figures_of"]


class Figures(Mapping[str, float]):
    """Figures by name, in the order of their families; NaN where one is not defined.

    Args:
        own: name -> figure.
        benchmark: the same of a benchmark; None without one.
        title: first line when it is shown.
    """

    def __init__(self, own: Mapping[str, float], benchmark: Mapping[str, float] | None = None, title: str = "") -> None:
        self._own = MappingProxyType({name: own[name] for name in FIGURES if name in own})
        self.benchmark = None if benchmark is None else Figures(benchmark)
        self._title = title

    def __reduce__(self) -> tuple[Any, ...]:
        return Figures, (dict(self._own), None if self.benchmark is None else dict(self.benchmark), self._title)

    def __getitem__(self, name: str) -> float:
        if name not in self._own:
            raise UnknownKeyError(self._unknown(name))
        return self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def frame(self) -> pd.DataFrame:
        """A row a figure: family, figure, that of the benchmark if there is one, unit and definition."""
        import pandas as pd

        rows = {"family": [FIGURES[name].family for name in self], "result": list(self._own.values())}
        if self.benchmark is not None:
            rows["benchmark"] = [self.benchmark.get(name, math.nan) for name in self]
        rows["unit"] = [FIGURES[name].unit for name in self]
        rows["definition"] = [FIGURES[name].definition for name in self]
        return pd.DataFrame(rows, index=pd.Index(list(self), name="figure"))

    def _unknown(self, name: object) -> str:
        if name not in FIGURES:
            return str(unknown_name("figure", name, FIGURES))
        if FIGURES[str(name)].family == FAMILIES[-1] and self.benchmark is None:
            return f"{name!r} is a figure against a benchmark: result.stats('buy_and_hold')[{name!r}]."
        return f"There is no {name!r} of an account that was ruined; there are {', '.join(self._own)}."

    def _families(self) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
        """Each family with its figures and their texts."""
        for family in FAMILIES:
            rows = [(name, self._texts(name)) for name in self if FIGURES[name].family == family]
            if rows:
                yield family, rows

    def _texts(self, name: str) -> list[str]:
        unit, texts = FIGURES[name].unit, [_text(self[name], FIGURES[name].unit)]
        return texts if self.benchmark is None else [*texts, _text(self.benchmark.get(name, math.nan), unit)]

    def __repr__(self) -> str:
        width = max(len(name) for name in self) + 2
        lines = [self._title] if self._title else []
        if self.benchmark is not None:
            lines.append(f"{'':{width + 2}}{'result':>12}{'benchmark':>12}")
        for family, rows in self._families():
            lines.append(family)
            lines += [f"  {name:<{width}}" + "".join(f"{text:>12}" for text in texts) for name, texts in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        span = 2 if self.benchmark is None else 3
        rows = []
        for family, figures in self._families():
            rows.append(f"<tr><th colspan={span} style='text-align:left'>{html.escape(family)}</th></tr>")
            for name, texts in figures:
                told = html.escape(FIGURES[name].definition, quote=True)
                cells = "".join(f"<td>{text}</td>" for text in texts)
                rows.append(f"<tr><td style='text-align:left' title='{told}'>{html.escape(name)}</td>{cells}</tr>")
        heads = "" if span == 2 else "<tr><th></th><th>result</th><th>benchmark</th></tr>"
        title = f"<b>{html.escape(self._title)}</b>" if self._title else ""
        return f"{title}<table>{heads}{''.join(rows)}</table>"


def figures_of(curve: Curve, measured: Mapping[str, float], benchmark: Curve | None = None) -> dict[str, float]:
    """All figures of a curve by name.

    Args:
        curve: returns and days.
        measured: what the ledger's kernel measured of it, by name, as `Result.metrics`; those that depend on a
            riskless rate are computed anew.
        benchmark: another curve of the same bars; without one there are no figures against it.

    Raises: ShapeError if the benchmark has another number of bars.
    """
    risk, tails = risk_figures(curve), tail_figures(curve)
    made = dict(measured)
    made |= growth_figures(curve) | drawdown_figures(curve, measured["annual_return"]) | tails
    made |= bar_figures(curve, tails["tail_ratio"])
    exposure = measured.get("exposure", math.nan)
    made["risk_adjusted_return"] = measured["annual_return"] / exposure if exposure > 0.0 else math.nan
    # at a riskless rate of 0 the kernel's own bits stand
    made |= {name: value for name, value in risk.items() if curve.risk_free != 0.0 or name not in measured}
    if benchmark is not None:
        made |= relative_figures(curve, benchmark)
    return made


def _text(value: float, unit: Unit) -> str:
    if not math.isfinite(value):
        return "-"
    if unit == "share":
        return f"{value:.2%}"
    return f"{value:,.0f}" if unit in ("count", "days") else f"{value:.3f}"
