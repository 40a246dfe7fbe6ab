"""The face: what a user writes, gets, and is told."""

import threading

import numpy as np
import pandas as pd
import pytest

from knowable import features as f
from knowable.data.market import Market
from knowable.errors import InputError, KnowableError, UnknownNameError
from knowable.features.functions.elsewhere import SYNONYMS

INDEX = pd.date_range("2020-01-01", periods=40, freq="D")


def frame(seed=0):
    values = np.random.default_rng(seed).random((40, 3)) + 1
    return pd.DataFrame(values, index=INDEX, columns=list("ABC"))


@pytest.fixture
def m():
    return Market.from_frames(close=frame(0), volume=frame(1))


def test_methods_and_free_functions_are_the_same(m):
    c = m.close
    for name in ("sum", "mean", "std", "min", "max", "ewm", "lag", "delta"):
        assert getattr(c, name)(5).node is getattr(f, name)(c, 5).node
    for name in (
        "argmin",
        "argmax",
        "ts_rank",
        "median",
        "decay_linear",
        "product",
        "count",
        "ffill",
        "returns",
        "fill",
    ):
        assert getattr(c, name)(5).node is getattr(f, name)(c, 5).node
    assert c.ts_quantile(5, 0.9).node is f.ts_quantile(c, 5, q=0.9).node
    assert c.signed_power(2).node is f.signed_power(c, 2).node
    for name in ("abs", "sign", "sqrt", "exp", "log", "log1p", "isnan"):
        assert getattr(c, name)().node is getattr(f, name)(c).node
    assert c.clip(0, m.volume).node is f.clip(c, 0, m.volume).node
    plain = "rank zscore demean cross_sum cross_mean cross_count pct_rank scale winsorize bars_since ffill returns"
    for name in plain.split():
        assert getattr(c, name)().node is getattr(f, name)(c).node
    for name in ("quantile", "top", "bottom"):
        assert getattr(c, name)(5).node is getattr(f, name)(c, 5).node
    for name in ("rank", "zscore", "neutralize", "mean", "sum", "count"):
        assert getattr(c, f"group_{name}")(m.volume).node is getattr(f, f"group_{name}")(c, m.volume).node
    assert c.neutralize(m.volume, c.lag(1)).node is f.neutralize(c, m.volume, c.lag(1)).node
    assert c.mask(m.volume > 1).node is f.mask(c, m.volume > 1).node
    assert abs(c).node is f.abs(c).node
    assert f.rank(c, descending=True).node is c.rank(True).node
    assert c.lag(0).node is c.node
    assert (~c).node is (c == 0).node


def test_numpy_functions_give_the_expression_and_not_an_array(m):
    assert np.log(m.close).node is f.log(m.close).node
    assert np.maximum(m.close, 0).node is f.maximum(m.close, 0).node
    assert (np.float64(3) * m.close).node is (3 * m.close).node
    assert (np.float64(3) < m.close).node is (m.close > 3).node
    np.testing.assert_array_equal(np.asarray(m.close), m.close.values())


def test_a_frame_has_the_labels_of_the_market_and_is_the_users_own(m):
    made = m.close.mean(3).frame()
    assert list(made.columns) == list("ABC")
    assert made.index.equals(m.index)
    made.iloc[0, 0] = 5.0
    expected = frame(0).rolling(3).mean()
    np.testing.assert_allclose(m.close.mean(3).values(), expected, rtol=1e-12)


def test_the_momentum_of_the_design_agrees_with_pandas(m):
    strength = m.close / m.close.lag(10) - 1
    held = strength.rank(descending=True) <= 2
    got = (held / held.cross_sum()).frame()
    p = frame(0)
    s = p / p.shift(10) - 1
    h = (s.rank(axis=1, ascending=False) <= 2).astype(float).where(s.notna())
    pd.testing.assert_frame_equal(got, h.div(h.sum(axis=1), axis=0), check_freq=False)


def test_windows_longer_than_the_data_are_nan_and_take_no_memory(m):
    for huge in (41, 10**15):
        for name in ("sum", "mean", "std", "min", "max", "lag", "delta", "argmin", "argmax", "ts_rank", "median"):
            assert np.isnan(getattr(m.close, name)(huge).values()).all()
        for name in ("decay_linear", "product", "returns"):
            assert np.isnan(getattr(m.close, name)(huge).values()).all()
        assert np.isnan(m.close.ts_quantile(huge, 0.9).values()).all()
        assert (m.close.count(huge).values()[:, 0] == np.arange(1, 41)).all()
        assert m.close.ffill(huge).values().tobytes() == m.close.values().tobytes()
    assert np.isfinite(m.close.mean(40).values()[-1]).all()
    assert np.isfinite(m.close.lag(39).values()[-1]).all()


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda m: m.close.mean(0), "`window >= 1` must hold, but window=0, in mean(close, 0)."),
        (lambda m: f.std(m.close + 1, -3), "`window >= 1` must hold, but window=-3, in std(close + 1, -3)."),
        (lambda m: m.close.mean(2.5), "`window` must be a whole number of bars, but window=2.5 is of type float"),
        (lambda m: m.close.mean("20"), "window='20' is of type str, in mean(close, '20')."),
        (lambda m: m.close.mean(True), "window=True is of type bool"),
        (lambda m: m.close.ewm(0.5), "`span >= 1` must hold for a finite number, but span=0.5, in ewm(close, 0.5)."),
        (lambda m: m.close.ewm(np.nan), "span=nan"),
        (lambda m: m.close.lag(-1), "`n >= 0` must hold, but n=-1, in lag(close, -1).\nA feature cannot look ahead"),
        (lambda m: f.delta(m.close, -2), "signal.lag(2)"),
        (
            lambda m: m.close.ts_quantile(20, 1.5),
            "`0 <= q <= 1` must hold for a number, but q=1.5, in ts_quantile(close, 20, q=1.5).",
        ),
        (lambda m: m.close.ts_quantile(20, "half"), "q='half', in ts_quantile(close, 20, q='half')."),
        (lambda m: m.close.ts_quantile(20, True), "q=True"),
        (lambda m: m.close.ts_quantile(0, 0.5), "window=0, in ts_quantile(close, 0, q=0.5)."),
        (lambda m: m.close.ts_quantile(20, np.nan), "q=nan"),
        (lambda m: m.close.ffill(-1), "`limit >= 0` must hold, but limit=-1, in ffill(close, -1)."),
        (lambda m: m.close.ffill(2.5), "`limit` must be a whole number of bars, but limit=2.5 is of type float"),
        (lambda m: f.fill(3, 0), "`fill` needs a feature, such as market.close, but got 3."),
        (lambda m: m.close.returns(-5), "A feature cannot look ahead"),
        (lambda m: m.close.rank("down"), "`descending` must be True or False, but descending='down'"),
        (lambda m: bool(m.close > 3), "`close > 3` has a value for every bar and asset"),
        (lambda m: 1 if m.close > 3 else 0, "use where(condition, a, b)"),
        (lambda m: 1 < m.close < 3, "use &, |, ~"),
        (lambda m: m.close and m.volume, "use &, |, ~"),
        (lambda m: m.close in [1, 2], "use where"),
        (lambda m: m.close + None, "got None of type NoneType, in `+` of close, None."),
        (lambda m: m.close == "x", "got 'x' of type str"),
        (lambda m: m.close * np.ones((40, 3)), "got a ndarray of shape (40, 3)"),
        (lambda m: np.ones((40, 3)) * m.close, "Put it into the market as a field"),
        (lambda m: frame() * m.close, "got a DataFrame of shape (40, 3)"),
        (lambda m: m.close - frame()["A"], "got a Series of shape (40,)"),
        (lambda m: np.sin(m.close), "numpy's sin has no counterpart"),
        (lambda m: np.add.reduce(m.close), "numpy's add has no counterpart"),
        (lambda m: f.where(1, 2, 3), "`where` needs at least one feature, such as market.close, but got 1, 2, 3."),
        (lambda m: f.lag(3, 2), "`lag` needs a feature, such as market.close, but got 3."),
        (lambda m: f.clip(m.close, 2, 1), "`low <= high` must hold, but low=2, high=1, in clip(close, ...)."),
        (lambda m: f.Program.of(3), "A program is made of a feature, but got 3."),
        (lambda m: f.Memo(-1), "`max_bytes >= 0` must hold for a whole number, but max_bytes=-1."),
    ],
)
def test_errors_say_what_came_and_what_to_do(m, act, text):
    with pytest.raises(InputError) as caught:
        act(m)
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 12


def test_near_names_are_offered(m):
    with pytest.raises(UnknownNameError, match="Unknown field 'clsoe' in the market. Did you mean 'close'?"):
        m.clsoe  # noqa: B018 - the access is the act
    with pytest.raises(UnknownNameError, match="Unknown attribute 'maen' in a feature. Did you mean 'mean'?"):
        m.close.maen(3)
    hints = {"shift": "no negative lag exists", "rolling": "x.mean(window)", "fillna": "x.fill(value)"}
    for name, hint in hints.items():
        with pytest.raises(UnknownNameError) as caught:
            getattr(m.close, name)
        assert hint in str(caught.value)
    assert not hasattr(m.close, "shift")
    assert getattr(m.close, "absent", 7) == 7


def test_features_cannot_be_keys(m):
    with pytest.raises(TypeError, match="unhashable"):
        hash(m.close)


def test_features_of_two_markets_do_not_meet(m):
    other = Market.from_frames(close=frame(5), volume=frame(6))
    with pytest.raises(InputError, match=r"cannot meet, but `close` and `mean\(volume, 3\)` do in `<`"):
        m.close < other.volume.mean(3)  # noqa: B015 - the comparison is the act
    twin = Market.from_frames(close=frame(0), volume=frame(1))
    assert (m.close < twin.volume).values().shape == (40, 3)


def test_a_feature_may_be_evaluated_on_another_market_with_its_fields(m):
    other = Market.from_frames(close=frame(5))
    np.testing.assert_array_equal(f.evaluate(m.close.lag(1), other)[1:], frame(5).to_numpy()[:-1])
    with pytest.raises(UnknownNameError, match="Unknown field 'volume' in the market. Known: close."):
        f.evaluate(m.volume, other)


def test_equal_parts_are_computed_once_across_programs_and_parameter_sets(m):
    memo = f.Memo(10**7)
    average = m.close.mean(5)
    f.Program.of((average - m.close) / average).evaluate(m, memo=memo)
    assert memo.n_computed == 3
    f.Program.of((m.close.mean(5) - m.close) * 2).evaluate(m, memo=memo)
    assert memo.n_computed == 4
    n = f.symbol("n", _Ranged())
    f.Program.of(m.close.mean(2 * n + 1) - m.close).evaluate(m, {"n": 2}, memo)
    assert memo.n_computed == 4
    f.Program.of(m.close.mean(2 * n + 1) - m.close).evaluate(m, {"n": 3}, memo)
    assert memo.n_computed == 6


class _Ranged:
    default = 3


def test_threads_share_work_and_agree(m):
    memo, barrier = f.Memo(10**7), threading.Barrier(4)
    n = f.symbol("n", _Ranged())
    program = f.Program.of((m.close / m.close.lag(n) - 1).rank() / m.close.mean(7))
    expected = {k: f.bind(program.node, {"n": k}) for k in range(1, 30)}
    results, failures = {}, []

    def work(which):
        try:
            barrier.wait()
            for k in range(1, 30):
                results[which, k] = program.evaluate(m, {"n": k}, memo)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert memo.n_computed == 1 + 29 * 5
    for (_, k), got in results.items():
        assert got.tobytes() == f.Program.of(expected[k]).evaluate(m).tobytes()
        assert got is results[0, k]


def test_a_failure_in_one_thread_leaves_the_memo_usable(m):
    memo = f.Memo(10**6)
    with pytest.raises(ZeroDivisionError):
        memo.obtain(7, lambda: 1 / 0)
    assert memo.obtain(7, m.close.values) is m.close.values()


def test_a_memo_keeps_to_its_bytes_and_drops_the_least_recently_used(m):
    one = m.close.values().nbytes
    memo = f.Memo(4 * one)
    programs = {n: f.Program.of(m.close.mean(n)) for n in range(1, 9)}
    for n in (1, 2, 3):
        programs[n].evaluate(m, memo=memo)
    programs[1].evaluate(m, memo=memo)
    for n in (4, 5):
        programs[n].evaluate(m, memo=memo)
        assert memo.n_bytes <= memo.max_bytes
    before = memo.n_computed
    programs[1].evaluate(m, memo=memo)
    assert memo.n_computed == before
    programs[2].evaluate(m, memo=memo)
    assert memo.n_computed == before + 1
    memo.clear()
    assert memo.n_bytes == 0
    programs[1].evaluate(m, memo=memo)
    assert memo.n_computed == before + 2


def test_a_memo_serves_one_market(m):
    memo = f.Memo(10**6)
    program = f.Program.of(m.close.mean(2))
    program.evaluate(m, memo=memo)
    with pytest.raises(InputError, match="A memo serves one market"):
        program.evaluate(m.until(10), memo=memo)


def test_all_errors_are_ours(m):
    assert issubclass(UnknownNameError, KnowableError)
    with pytest.raises(KnowableError):
        m.close.nothing  # noqa: B018 - the access is the act


@pytest.mark.parametrize(
    ("ask", "remedy"),
    [
        (lambda c: c[-1], "lag"),
        (lambda c: c["A"], "frame"),
        (list, "frame"),
        (len, "shape"),
        (float, "frame"),
        (int, "frame"),
        (round, "frame"),
        (lambda c: round(c, 2), "frame"),
        (lambda c: c % 2, "%"),
        (lambda c: 5 // c, "//"),
        (lambda c: c ^ 2, "^"),
    ],
)
def test_what_only_a_number_or_an_array_can_do_is_refused_with_a_way(m, ask, remedy):
    with pytest.raises(InputError) as error:
        ask(m.close)
    assert "`close`" in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    ("name", "way"),
    [("maximum", "maximum(x, y)"), ("atr", "atr(high"), ("regression", "beta")],
)
def test_names_used_elsewhere_are_told_ours(m, name, way):
    with pytest.raises(AttributeError) as error:
        getattr(m.close, name)
    assert way in str(error.value)


def test_a_function_known_by_another_name_is_told_ours_in_python_and_in_a_text(m):
    for name, ours in SYNONYMS.items():
        assert hasattr(f, ours)
        assert name not in f.__all__
        with pytest.raises(AttributeError, match=f"Did you mean '{ours}'"):
            getattr(m.close, name)
        with pytest.raises(UnknownNameError, match=f"Unknown function '{name}'. Did you mean '{ours}'"):
            m.expression(f"{name}(close, 5)")


def test_a_clock_is_given_by_name_alone(m):
    """pandas' expanding(20) means something else than every 20th bar, and std(20, 1) its degrees of freedom."""
    for call in (
        lambda c: c.expanding_mean(20),
        lambda c: c.std(20, 1),
        lambda c: c.corr(m.volume, 20, 5),
        lambda c: f.bars_since(c > 1, 5),
        lambda c: c.lag(1, "week_end"),
    ):
        with pytest.raises(TypeError):
            call(m.close)
    with pytest.raises(InputError, match="every"):
        m.expression("expanding_mean(close, 20)")
