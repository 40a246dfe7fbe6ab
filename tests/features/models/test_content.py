"""What an estimator's code names is part of its content, whatever it is; what it does not name is not."""

from __future__ import annotations

import textwrap
import threading

import pytest

from knowable.features.models.content import content_text

REST = """
class Mean:
    base = 1.0

    def fit(self, x, y):
        self.mean = y.mean() * thing()
        self.other = 2.0

    def predict(self, x):
        return x[:, 0] * 0 + self.mean * self.other
"""

NAMED = {
    "a number": """
held = VALUE
def thing(): return held
""",
    "an array": """
held = np.array([VALUE])
def thing(): return held
""",
    "a scalar of numpy": """
held = np.float32(VALUE)
def thing(): return held
""",
    "a table": """
held = pd.Series([VALUE])
def thing(): return held
""",
    "an object of ones own": """
class Held:
  def __init__(self): self.k = VALUE
held = Held()
def thing(): return held.k
""",
    "a callable object": """
class Held:
  k = VALUE
  def __call__(self): return self.k
thing = Held()
""",
    "a bound method": """
class Held:
  def __init__(self): self.k = VALUE
  def f(self): return self.k
thing = Held().f
""",
    "a function with arguments": """
thing = functools.partial(max, VALUE)
""",
    "what a function encloses": """
def made(k):
  def thing(): return k
  return thing
thing = made(np.array([VALUE]))
""",
    "a default": """
def thing(k=np.array([VALUE])): return k
""",
    "a base of a class": """
class Base:
  def k(self): return VALUE
class Held(Base): pass
def thing(): return Held().k()
""",
    "a function whose answers are kept": """
@functools.cache
def thing(): return VALUE
""",
    "a compiled function": """
@numba.njit
def thing(): return VALUE
""",
    "a property worked out once": """
class Held:
  @functools.cached_property
  def k(self): return VALUE
thing = lambda: Held().k
""",
    "an array of a class": """
class Held:
  k = np.array([VALUE])
def thing(): return Held.k
""",
    "a list that holds itself": """
held = [VALUE]
held.append(held)
def thing(): return held[0]
""",
    "functions that name each other": """
def thing(): return table['f'](1)
table = {'f': lambda n: thing() if n else VALUE}
""",
}


def text_of(code: str) -> str:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(f"import functools\nimport numba\nimport numpy as np\nimport pandas as pd\n{code}{REST}", names)  # noqa: S102
    return content_text(names["Mean"]())  # type: ignore[operator]


@pytest.mark.parametrize("what", NAMED)
def test_what_code_names_is_content(what: str) -> None:
    code = NAMED[what]
    assert text_of(code.replace("VALUE", "2.0")) == text_of(code.replace("VALUE", "2.0"))
    assert text_of(code.replace("VALUE", "2.0")) != text_of(code.replace("VALUE", "3.0"))


def test_a_global_that_only_shares_an_attributes_name_is_no_content() -> None:
    code = "def thing(): return 1\n"
    assert text_of(code + "other = 1") == text_of(code + "other = 2") == text_of(code)


def test_what_cannot_be_told_counts_by_its_type_and_is_not_refused() -> None:
    code = "import threading\nheld = threading.Lock()\ndef thing(): return held"
    assert text_of(code) == text_of(code)
    assert repr(threading.Lock()) not in text_of(code)


def test_a_part_that_is_not_fitted_anew_counts_with_what_it_has_learnt() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn comes with the extra models")
    frozen = pytest.importorskip("sklearn.frozen", reason="scikit-learn comes with the extra models").FrozenEstimator

    def learnt(slope: float) -> str:
        return content_text(frozen(linear.LinearRegression().fit([[1.0], [2.0]], [1.0, 1.0 + slope])))

    assert learnt(1.0) == learnt(1.0)
    assert learnt(1.0) != learnt(2.0)


def test_packages_of_another_environment_are_no_code_of_ones_own(tmp_path, monkeypatch) -> None:
    home = tmp_path / "site-packages"
    home.mkdir()
    (home / "lent_package.py").write_text(textwrap.dedent("__version__ = '1'\ndef thing(): return 1\n"))
    monkeypatch.syspath_prepend(str(home))
    text = text_of("from lent_package import thing")
    (home / "lent_package.py").write_text(textwrap.dedent("__version__ = '1'\n# moved\ndef thing(): return 1\n"))
    assert "lent_package 1" in text.splitlines()
    assert text == text_of("from lent_package import thing")
