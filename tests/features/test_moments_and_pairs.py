"""Moments, pairs, all bars so far and indicators as a user meets them: beside pandas on real prices, with symbols."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable import features as f
from knowable.data.market import Market
from knowable.errors import InputError, UnknownNameError
from knowable.params import Float, Int

SAMPLE = Path(__file__).parents[2] / "data-samples" / "us-large-caps.csv.gz"
NAN = np.nan


@pytest.fixture(scope="module")
def bars():
    """Real closes of six names, the other fields drawn around them; in `mine` some are missing, one name is late."""
    table = pd.read_csv(SAMPLE, parse_dates=["event_time"])
    close = table.pivot_table(index="event_time", columns="entity", values="close").iloc[-600:, :6]
    rng = np.random.default_rng(4)
    reach = np.exp(np.abs(rng.normal(scale=0.01, size=(2, 600, 6))))
    frames = {"high": close * reach[0], "low": close / reach[1], "close": close}
    frames["volume"] = close * 0 + rng.lognormal(12, 1, size=(600, 6))
    frames["mine"] = close.mask(rng.random((600, 6)) < 0.004)
    frames["mine"].iloc[:90, 5] = NAN
    return frames


@pytest.fixture(scope="module")
def m(bars):
    return Market.from_frames(**bars)


def check(feature, expected, rtol=1e-9, atol=0.0):
    np.testing.assert_allclose(feature.values(), np.asarray(expected), rtol=rtol, atol=atol)


@pytest.mark.parametrize("window", [3, 20, 60])
def test_real_prices_agree_with_pandas(m, bars, window):
    x, prices = m.mine, bars["mine"]
    rolling = prices.rolling(window)
    check(x.var(window), rolling.var(), rtol=1e-7)
    check(x.skew(window), rolling.skew(), rtol=1e-6, atol=1e-7)
    check(x.ts_zscore(window), (prices - rolling.mean()) / rolling.std(), rtol=1e-6, atol=1e-9)
    check(x.ewm_std(window), prices.ewm(span=window).std(), rtol=1e-9)
    check(x.cov(m.volume, window), rolling.cov(bars["volume"]), rtol=1e-6, atol=1e-3)
    check(x.corr(m.volume, window), rolling.corr(bars["volume"]), rtol=1e-6, atol=1e-9)


def test_all_bars_so_far_agree_with_pandas(m, bars):
    x, expanding = m.mine, bars["mine"].expanding()
    for name in ("sum", "mean", "std", "min", "max", "count"):
        check(getattr(x, f"expanding_{name}")(), getattr(expanding, name)())
    drawdown = (x / x.expanding_max() - 1).values()
    assert np.nanmax(drawdown) == 0
    assert np.nanmin(drawdown) < -0.1


def test_regression_on_the_mean_of_the_market_splits_returns_as_numpy_does(m, bars):
    y = m.close.returns()
    x = y.cross_sum() / 6
    beta, resid, share = (part.values() for part in (y.beta(x, 60), y.resid(x, 60), y.r2(x, 60)))
    returns = bars["close"].pct_change(fill_method=None).to_numpy()
    market = returns.sum(axis=1) / 6
    for t in (60, 61, 400, 599):
        for j in range(6):
            a, b = market[t - 59 : t + 1], returns[t - 59 : t + 1, j]
            slope, level = np.polyfit(a, b, 1)
            np.testing.assert_allclose(beta[t, j], slope, rtol=1e-8)
            np.testing.assert_allclose(resid[t, j], b[-1] - level - slope * a[-1], rtol=1e-6, atol=1e-12)
            np.testing.assert_allclose(share[t, j], np.corrcoef(a, b)[0, 1] ** 2, rtol=1e-8)


def test_a_moment_of_weekly_values_is_that_of_the_week_ends(m, bars):
    weekly = bars["close"].groupby(bars["close"].index.to_period("W")).last().to_numpy()
    got = m.close.corr(m.volume, 5, every="week_end").values()[-1]
    volumes = bars["volume"].groupby(bars["close"].index.to_period("W")).last().to_numpy()
    assert bars["close"].index[-1].day_name() == "Wednesday"  # the last week has not ended
    for j in range(6):
        np.testing.assert_allclose(got[j], np.corrcoef(weekly[-6:-1, j], volumes[-6:-1, j])[0, 1], rtol=1e-9)


# --- indicators, written out ------------------------------------------------------------------------------------------


def smoothed(column, window):
    """Weights (1 - 1 / window)**age over their sum, of the values that are known."""
    out = []
    for t in range(len(column)):
        ages = [t - u for u in range(t + 1) if not np.isnan(column[u])]
        weights = [(1 - 1 / window) ** age for age in ages]
        total = sum(weights)
        out.append(sum(w * column[t - age] for w, age in zip(weights, ages, strict=True)) / total if ages else NAN)
    return np.array(out)


def test_average_true_range_is_wilders_mean_of_how_far_each_bar_reached(m, bars):
    high, low, close = (bars[name].to_numpy()[:80] for name in ("high", "low", "mine"))
    got = f.atr(m.high, m.low, m.mine, 14).values()[:80]
    for j in range(6):
        reach = [high[0, j] - low[0, j]]
        for t in range(1, 80):
            before = close[t - 1, j]
            reach.append(
                high[t, j] - low[t, j]
                if np.isnan(before)
                else max(high[t, j] - low[t, j], abs(high[t, j] - before), abs(low[t, j] - before))
            )
        np.testing.assert_allclose(got[:, j], smoothed(np.array(reach), 14), rtol=1e-12)


def test_relative_strength_is_the_share_of_rises_in_all_moves(m, bars):
    close = bars["mine"].to_numpy()[:120]
    got = m.mine.rsi(14).values()[:120]
    for j in range(6):
        change = np.diff(close[:, j], prepend=NAN)
        up = smoothed(np.where(np.isnan(change), NAN, np.maximum(change, 0)), 14)
        down = smoothed(np.where(np.isnan(change), NAN, np.maximum(-change, 0)), 14)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(got[:, j], 100 - 100 / (1 + up / down), rtol=1e-9)
    assert np.nanmin(got) >= 0
    assert np.nanmax(got) <= 100


def test_smoothing_agrees_with_wilders_own_recursion_to_a_thousandth_after_seven_windows(m, bars):
    """His begins with the plain mean of the first values; that weighs (1 - 1/n)**bars in the end."""
    n, column = 14, (bars["high"] - bars["low"]).to_numpy()[:, 0]
    recursion = [column[:n].mean()]
    for value in column[n:]:
        recursion.append(recursion[-1] + (value - recursion[-1]) / n)
    ours = (m.high - m.low).ewm(2 * n - 1).values()[n - 1 :, 0]
    off = np.abs(ours / np.array(recursion) - 1)
    assert off[7 * n :].max() < 1e-3
    assert off[:n].max() > 1e-3


def test_bollinger_bands_and_macd_agree_with_pandas(m, bars):
    prices = bars["mine"]
    bands = m.mine.bollinger(20, 2.5)
    middle, reach = prices.rolling(20).mean(), 2.5 * prices.rolling(20).std(ddof=0)
    check(bands.middle, middle)
    check(bands.upper, middle + reach, rtol=1e-8)
    check(bands.lower, middle - reach, rtol=1e-8)
    place = ((m.mine - bands.lower) / (bands.upper - bands.lower)).values()
    np.testing.assert_allclose(
        place, 0.5 + m.mine.ts_zscore(20).values() / (5 * (19 / 20) ** 0.5), rtol=1e-8, atol=1e-12
    )
    line = prices.ewm(span=12).mean() - prices.ewm(span=26).mean()
    made = m.mine.macd()
    check(made.line, line, rtol=1e-7, atol=1e-9)
    check(made.signal, line.ewm(span=9).mean(), rtol=1e-7, atol=1e-9)
    check(made.histogram, line - line.ewm(span=9).mean(), rtol=1e-7, atol=1e-9)


def test_hand_table_of_indicators():
    frame = pd.DataFrame({"A": [10.0, 11.0, 11.0, 9.0]}, index=pd.date_range("2024-01-01", periods=4))
    m = Market.from_frames(close=frame, high=frame + 1, low=frame - 0.5)
    # window 2 halves: gains 1, 0, 0 and losses 0, 0, 2, weights 1 1/2 1/4
    check(m.close.rsi(2), [[NAN], [100], [100], [100 * (1 / 4) / (1 / 4 + 2)]], rtol=1e-14)
    # reaches: 1.5; 12 - 10 = 2; 12 - 10.5 = 1.5; 11 - 8.5 = 2.5
    mean = [1.5, (2 + 1.5 / 2) / 1.5, (1.5 + 2 / 2 + 1.5 / 4) / 1.75, (2.5 + 1.5 / 2 + 2 / 4 + 1.5 / 8) / 1.875]
    check(f.atr(m.high, m.low, m.close, 2), np.array(mean)[:, None], rtol=1e-14)
    check(m.close.bollinger(2).upper, [[NAN], [11.5], [11], [12]], rtol=1e-14)
    flat = Market.from_frames(close=frame * 0 + 3)
    assert np.isnan(flat.close.rsi(2).values()).all()


# --- the face ---------------------------------------------------------------------------------------------------------


def test_methods_and_free_functions_are_the_same(m):
    x, y = m.close, m.volume
    for name in ("var", "skew", "ts_zscore", "ewm_std", "rsi"):
        assert getattr(x, name)(5).node is getattr(f, name)(x, 5).node
    for name in ("cov", "corr", "beta", "resid", "r2"):
        assert getattr(x, name)(y, 5).node is getattr(f, name)(x, y, window=5).node
    for name in ("sum", "mean", "std", "min", "max", "count"):
        assert getattr(x, f"expanding_{name}")().node is getattr(f, f"expanding_{name}")(x).node
    assert x.bollinger(20).upper.node is f.bollinger(x, 20, width=2).upper.node
    assert x.macd().line.node is f.macd(x, fast=12, slow=26).line.node


@pytest.mark.parametrize(
    "text",
    [
        "corr(close, volume, 20)",
        'beta(close, volume, 20, every="week_end")',
        "expanding_std(close) / ewm_std(close, 20.0)",
        "ts_zscore(close, 20) * skew(close, 5) - var(close, 3)",
    ],
)  # fmt: skip
def test_text_reads_back(m, text):
    assert m.expression(text).text() == text


def test_one_of_several_results_is_chosen_in_text(m):
    assert m.expression("bollinger(close, 20).upper").node is m.close.bollinger(20).upper.node
    assert m.expression("macd(close).histogram").node is m.close.macd().histogram.node
    with pytest.raises(InputError, match=r"bollinger gives upper, middle, lower: write bollinger\(...\).upper."):
        m.expression("bollinger(close, 20) * 2")
    with pytest.raises(UnknownNameError, match="Did you mean 'upper'"):
        m.expression("bollinger(close, 20).uper")


def test_parameters_stay_open_until_they_have_values(m):
    n, k = f.symbol("n", Int(2, 40, default=5)), f.symbol("k", Float(1.0, 3.0, default=2.0))
    for make in (
        lambda n, k: m.close.corr(m.volume, n),
        lambda n, k: m.close.resid(m.volume, 2 * n + 1).ts_zscore(n),
        lambda n, k: f.atr(m.high, m.low, m.close, n) / m.close.ewm_std(n),
        lambda n, k: m.close.rsi(n) * k,
        lambda n, k: m.close.bollinger(n, k).lower,
        lambda n, k: m.close.macd(n, 2 * n, k).signal,
    ):
        assert f.bind(make(n, k).node, {"n": 7, "k": 2.5}) is make(7, 2.5).node


def test_a_plain_number_in_a_stored_definition_is_the_panel_it_stands_for(m):
    """The functions refuse it; a text that names the operator's inputs otherwise must not read beyond a number."""
    for op in ("cov", "corr", "beta", "resid", "r2"):
        for first, second in ((m.close, 3.0), (3.0, m.close)):
            got = f.Feature(f.node.node(op, tuple(map(as_node, (first, second))), (5,)), m).values()
            assert np.isnan(got[:4]).all()
            if op == "cov" or (op in ("beta", "resid") and isinstance(first, float)):
                assert (got[4:] == 0).all()
            else:
                assert np.isnan(got).all()


def as_node(operand):
    return f.node.number(operand) if isinstance(operand, float) else operand.node


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            lambda m: f.corr(m.close, 3, 20),
            "`corr` needs two features, such as market.close and market.volume, but got 3, in corr(close, 3, 20).",
        ),
        (lambda m: f.beta(2.0, m.close, 20), "but got 2.0, in beta(2.0, close, 20)."),
        (lambda m: m.close.cov("volume", 20), "but got 'volume', in cov(close, 'volume', 20)."),
        (lambda m: m.close.corr(20), "required positional argument: 'window'"),
        (lambda m: m.close.corr(m.volume, 0), "`window >= 1` must hold, but window=0, in corr(close, volume, 0)."),
        (lambda m: m.close.corr(m.volume, 2.5), "`window` must be a whole number of bars, but window=2.5"),
        (lambda m: m.close.skew("20"), "window='20' is of type str, in skew(close, '20')."),
        (lambda m: m.close.ewm_std(0.5), "`span >= 1` must hold for a finite number, but span=0.5"),
        (lambda m: m.close.rsi(0), "`window >= 1` must hold, but window=0, in rsi(close, 0)."),
        (
            lambda m: f.atr(m.high, m.low, m.close, "14"),
            "window='14' is of type str, in atr(high, low, close, '14').",
        ),
        (lambda m: f.atr(m.high, m.low, 3, 14), "`atr` needs a feature, such as market.close, but got 3."),
        (lambda m: m.close.macd(0), "`span >= 1` must hold for a finite number, but span=0, in ewm(close, 0)."),
        (
            lambda m: m.close.bollinger(20, "2"),
            "`width > 0` must hold for a finite number, but width='2', in bollinger(close, 20, width='2').",
        ),
        (lambda m: m.close.bollinger(20, -2.0), "but width=-2.0"),
        (lambda m: m.close.bollinger(0), "`window >= 1` must hold, but window=0, in mean(close, 0)."),
        (lambda m: m.close.cummax(), "write x.expanding_max()"),
        (lambda m: m.close.expanding(), "write x.expanding_mean()"),
    ],
)
def test_errors_say_what_came_and_what_to_do(m, act, text):
    with pytest.raises((InputError, TypeError, UnknownNameError)) as caught:
        act(m)
    assert text in str(caught.value)
