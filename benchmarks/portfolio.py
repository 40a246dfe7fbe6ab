"""Weights that are solved for: 500 assets, ten years of days, a rebalance a month.

Risk parity: the whole expression (returns, covariance shrunk after Ledoit and Wolf, the solver), beside scipy on the
same windows: scikit-learn's Ledoit-Wolf and L-BFGS-B on the convex problem with its gradient, for as many months as
noted, extrapolated in proportion. Inverse volatility beside pandas. Mean-variance: long only, at most 5 % each and 20 %
a sector, beside scipy's SLSQP of the same limits for 60 assets; 500 assets are measured alone. By hand is one matrix
product a month, which any covariance needs.

Run: ``python -m benchmarks.portfolio``.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from benchmarks.timing import best

N_ASSETS, N_BARS, WINDOW, FEW = 500, 2_520, 250, 6


def prices(n_assets: int = N_ASSETS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    common = rng.normal(0.0, 0.008, (N_BARS, 1)) * rng.uniform(0.5, 1.5, n_assets)
    moves = common + rng.normal(0.0003, 0.012, (N_BARS, n_assets)) * rng.uniform(0.5, 2.0, n_assets)
    index = pd.bdate_range("2010-01-04", periods=N_BARS)
    return pd.DataFrame(100 * np.exp(moves.cumsum(axis=0)), index, [f"A{k:03d}" for k in range(n_assets)])


def market_of(frame: pd.DataFrame):
    import knowable as kn

    sector = frame * 0 + np.arange(frame.shape[1]) % 10
    return kn.Market.from_frames(close=frame, sector=sector)


def months(frame: pd.DataFrame, market, make) -> list[int]:
    """The rows on which ours rebalances."""
    values = make(market).values()
    changed = np.ones(len(values), bool)
    changed[1:] = (values[1:] != values[:-1]).any(axis=1)
    return [int(t) for t in np.flatnonzero(changed & np.isfinite(values).all(axis=1))]


def scipy_parity(moves: np.ndarray, rows: list[int]) -> np.ndarray:
    from scipy.optimize import minimize
    from sklearn.covariance import ledoit_wolf

    made = []
    for t in rows:
        covariance = ledoit_wolf(moves[t + 1 - WINDOW : t + 1])[0]
        covariance /= np.trace(covariance) / len(covariance)
        k = len(covariance)

        def goal(y, covariance=covariance, k=k):
            product = covariance @ y
            return 0.5 * y @ product - np.log(y).sum() / k, product - 1.0 / (k * y)

        start = np.full(k, 1.0 / np.sqrt(covariance.sum()))
        options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5_000, "maxfun": 10_000}
        found = minimize(goal, start, jac=True, bounds=[(1e-9, None)] * k, method="L-BFGS-B", options=options)
        made.append(found.x / found.x.sum())
    return np.array(made)


def parity() -> dict[str, object]:
    from knowable import portfolio

    frame = prices()
    market, moves = market_of(frame), frame.pct_change().to_numpy()

    def make(m):
        return portfolio.risk_parity(m.close, WINDOW, every="month_end")

    rows = months(frame, market, make)
    mine = best(lambda: make(market).values(), 3)
    chosen = rows[:: len(rows) // FEW][:FEW]
    began = time.perf_counter()
    theirs = scipy_parity(moves, chosen)
    peer = (time.perf_counter() - began) * len(rows) / FEW
    apart = np.abs(make(market).values()[chosen] / theirs - 1).max()
    return {
        "case": f"risk parity, {N_ASSETS} assets, {len(rows)} months",
        "ours": mine,
        "peer_name": "scikit-learn and scipy",
        "peer": peer,
        "ratio": peer / mine,
        "note": f"scipy from {FEW} months; weights apart by {apart:.0e} at most",
    }


def products() -> dict[str, object]:
    from knowable import portfolio

    frame = prices()
    market, moves = market_of(frame), frame.pct_change().to_numpy()

    def make(m):
        return portfolio.risk_parity(m.close, WINDOW, every="month_end")

    rows = months(frame, market, make)
    mine = best(lambda: make(market).values(), 3)

    def by_hand():
        for t in rows:
            window = moves[t + 1 - WINDOW : t + 1]
            _ = window.T @ window

    peer = best(by_hand, 3)
    return {
        "case": f"risk parity, {N_ASSETS} assets, {len(rows)} months",
        "ours": mine,
        "peer_name": "by hand: products alone, BLAS",
        "peer": peer,
        "ratio": peer / mine,
    }


def inverse() -> dict[str, object]:
    from knowable import portfolio

    frame = prices()
    market = market_of(frame)

    def theirs():
        calm = 1 / frame.pct_change().rolling(60).std()
        return calm.div(calm.sum(axis=1, min_count=1), axis=0)

    mine, peer = best(lambda: portfolio.inverse_volatility(market.close, 60).values(), 3), best(theirs, 3)
    return {
        "case": f"inverse volatility, {N_ASSETS} assets, each bar",
        "ours": mine,
        "peer_name": "pandas",
        "peer": peer,
        "ratio": peer / mine,
    }


def slsqp(covariance: np.ndarray, gain: np.ndarray, sector: np.ndarray) -> np.ndarray:
    from scipy.optimize import minimize

    k = len(gain)
    rules = [{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)}]
    for code in np.unique(sector):
        mine = (sector == code).astype(float)
        rules.append({"type": "ineq", "fun": lambda w, mine=mine: 0.2 - mine @ w, "jac": lambda w, mine=mine: -mine})

    def goal(w):
        product = covariance @ w
        return 1e4 * (2.5 * w @ product - gain @ w), 1e4 * (5 * product - gain)

    options = {"ftol": 1e-12, "maxiter": 1_000}
    return minimize(
        goal, np.full(k, 1 / k), jac=True, bounds=[(0, 0.05)] * k, constraints=rules, method="SLSQP", options=options
    ).x


def best_portfolios(n_assets: int) -> dict[str, object]:
    from sklearn.covariance import ledoit_wolf

    from knowable import portfolio

    frame = prices(n_assets)
    market, moves = market_of(frame), frame.pct_change().to_numpy()

    def make(m):
        return portfolio.mean_variance(
            m.close.returns().mean(WINDOW), m.close, WINDOW, risk_aversion=5.0, max_weight=0.05, groups=m.sector,
            max_group=0.2, net=1.0, every="month_end",
        )  # fmt: skip

    rows = months(frame, market, make)
    mine = best(lambda: make(market).values(), 2 if n_assets < 100 else 1)
    row: dict[str, object] = {"case": f"mean-variance, {n_assets} assets, {len(rows)} months", "ours": mine}
    if n_assets > 100:
        return {**row, "peer_name": "-", "peer": None, "note": f"{1e3 * mine / len(rows):.0f} ms a month"}
    chosen, sector = rows[:: len(rows) // FEW][:FEW], np.arange(n_assets) % 10
    began = time.perf_counter()
    theirs = [
        slsqp(ledoit_wolf(moves[t + 1 - WINDOW : t + 1])[0], moves[t + 1 - WINDOW : t + 1].mean(axis=0), sector)
        for t in chosen
    ]
    peer = (time.perf_counter() - began) * len(rows) / FEW
    apart = np.abs(make(market).values()[chosen] - np.array(theirs)).max()
    note = f"scipy from {FEW} months; weights apart by {apart:.0e} at most"
    return {**row, "peer_name": "scikit-learn and scipy's SLSQP", "peer": peer, "ratio": peer / mine, "note": note}


def run() -> list[dict[str, object]]:
    """The rows of the table."""
    return [parity(), products(), inverse(), best_portfolios(60), best_portfolios(N_ASSETS)]


if __name__ == "__main__":
    for each in run():
        print(each)
