"""Weights that are solved for at each rebalance, from the covariance of returns."""

from __future__ import annotations

from typing import Any

from knowable.errors import InputError, shown
from knowable.features.apply import feature_of, rebalanced
from knowable.features.feature import Feature
from knowable.features.functions.moving import Every
from knowable.features.functions.paths import returns
from knowable.features.solved.quadratic import need_solver
from knowable.features.symbols import Symbol
from knowable.portfolio.asked import codes_of, is_number, prices_of, selection, told, window_of_two

__all__ = ["mean_variance", "risk_parity"]


def risk_parity(
    price: Feature,
    window: int,
    *,
    of: Any = None,
    budget: Feature | None = None,
    covariance: str = "ledoit_wolf",
    every: Every = None,
) -> Feature:
    """Positive weights of sum 1 of which each asset carries the same part of the portfolio's variance.

    Args:
        price: (n_bars, n_assets), such as ``m.close``.
        window: returns that the covariance is of, >= 2.
        of: a feature: assets for which it is 0 or missing are not held. None: all.
        budget: a feature: parts of the variance in these proportions instead; an asset without one above 0 is not held.
        covariance: ``"ledoit_wolf"``: shrunk towards equal variances without correlation (Ledoit and Wolf, 2004, J. of
            Multivariate Analysis 88); ``"constant_correlation"``: shrunk towards equal correlations (Ledoit and Wolf,
            2004, J. of Portfolio Management 30(4)); ``"sample"``: as it is.
        every: rebalance on the bars that end these periods (or the first bar that shows their end), and hold between.
            None: each bar.

    Returns: (n_bars, n_assets). 0 for an asset that is not selected, is no member of the universe, lacks one of the
        window's returns, or did not move; all 0 where nothing is selected; NaN (keep what is held) before any asset has
        a full window, and what was last said while none has. Fill gaps in prices first, ``m.close.ffill(5)``, where
        they should not cost an asset its place. Contributions are equal to 1e-12.
    Known at: row t uses rows <= t.
    Raises: InputError; when evaluated UnsolvedError, naming the row, where no such weights exist.
    Source: Griveau-Billion, Richard, Roncalli (2013), arXiv:1311.4057.
    """
    name = "risk_parity"
    moves = returns(prices_of(name, price))
    parts: Any = 1.0 if budget is None else feature_of(name, budget)
    settings = {"window": window_of_two(name, price, window), "covariance": covariance}
    return rebalanced(name, selection(name, of), moves, parts, every=every, told=told(name, price), **settings)


def mean_variance(
    expected: Feature | None,
    price: Feature,
    window: int,
    *,
    of: Any = None,
    covariance: str = "ledoit_wolf",
    risk_aversion: float = 1.0,
    long_only: bool = True,
    max_weight: float | None = None,
    groups: Feature | None = None,
    max_group: float | None = None,
    turnover: float | None = None,
    gross: float | None = 1.0,
    net: float | None = None,
    infeasible: str = "error",
    every: Every = None,
) -> Feature:
    """Weights that maximise ``expected @ w - risk_aversion / 2 * w @ covariance @ w`` within limits.

    Args:
        expected: (n_bars, n_assets) the return expected of a bar, in the unit of the bar's returns: 0.0004 is four
            hundredths of a per cent a bar. An asset without one (NaN) is not held. None: all 0, the least variance,
            which wants a `net`.
        price: (n_bars, n_assets), such as ``m.close``.
        window: returns that the covariance is of, >= 2.
        of: a feature: assets for which it is 0 or missing are not held. None: all.
        covariance: as in `risk_parity`.
        risk_aversion: > 0; how much a bar's variance weighs against its expected return.
        long_only: no weight below 0.
        max_weight: most of an asset's absolute weight.
        groups: (n_bars, n_assets) equal numbers are one group, such as a sector; NaN is none.
        max_group: most of the sum of a group's absolute weights.
        turnover: most of the sum of absolute changes at a rebalance, bought and sold together, from the weights of the
            last one as prices have moved them since. The first portfolio is free, and so is selling what may not be
            held any more.
        gross: most of the sum of absolute weights. None: no limit.
        net: what the sum of weights is. None: whatever is best.
        infeasible: ``"error"``: a rebalance at which no weights satisfy all limits raises UnsolvedError; ``"keep"``:
            the weights stay those of the rebalance before.
        every: as in `risk_parity`.

    Returns: (n_bars, n_assets), missing and 0 as in `risk_parity`. Exact to about 1e-9.
    Known at: row t uses rows <= t.
    Raises: InputError, also where Clarabel is not installed (``pip install "knowable[portfolio]"``); when evaluated
        UnsolvedError, naming the row and the limits.
    Source: Markowitz (1952), J. of Finance 7; solved by Clarabel (Goulart and Chen, 2024, arXiv:2405.12762).
    """
    name = "mean_variance"
    need_solver()
    if (groups is None) != (max_group is None):
        have, lack = ("groups", "max_group") if max_group is None else ("max_group", "groups")
        raise InputError(f"`groups` and `max_group` go together, but {name} got {have} without {lack}.")
    if expected is None and not issubclass(type(net), Symbol) and not net:
        raise InputError(
            f"Without an expected return the least variance is that of holding nothing, with net={shown(net)}, in "
            f"{name}.\nSay what the weights sum to, as net=1.0, or give `expected`."
        )
    if is_number(max_weight) and is_number(gross) and max_weight > max(gross, 1.0):
        raise InputError(
            f"`max_weight <= gross` must hold, or it limits nothing, but max_weight={max_weight:g} and "
            f"gross={gross:g}, in {name}. It is a fraction of equity: 0.2 for twenty per cent."
        )
    gain: Any = 0.0 if expected is None else feature_of(name, expected)
    codes: Any = float("nan") if groups is None else codes_of(name, groups)
    moves = returns(prices_of(name, price))
    settings = {
        "window": window_of_two(name, price, window),
        "covariance": covariance,
        "risk_aversion": risk_aversion,
        "long_only": long_only,
        "max_weight": max_weight,
        "max_group": max_group,
        "turnover": turnover,
        "gross": gross,
        "net": net,
        "infeasible": infeasible,
    }
    shown_as = told(name, *([] if expected is None else [expected]), price)
    return rebalanced(name, selection(name, of), moves, gain, codes, every=every, told=shown_as, **settings)
