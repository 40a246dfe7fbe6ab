"""The house rules: import arrows, sizes, public names."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import knowable

SRC = Path(knowable.__file__).parent
FILES = sorted(SRC.rglob("*.py"))

# Which rooms a room may import. `errors` may be imported by all but kernels.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "kernels": set(),
    "params": set(),
    "calendars": set(),
    "pages": set(),
    "data": {"calendars", "kernels", "pages", "cluster"},
    "features": {"kernels", "data", "params", "cluster"},
    "strategy": {"params", "features", "calendars"},
    "metrics": {"kernels"},
    "report": {"metrics", "pages"},
    "analysis": {"features", "data", "kernels", "metrics", "report"},
    "backtest": {"strategy", "features", "data", "kernels", "metrics", "report", "calendars"},
    "search": {"params", "kernels"},
    "runs": set(),
    "cluster": {"search", "runs"},
    "validate": {"metrics", "kernels", "backtest", "strategy", "data"},
    "live": {"strategy", "features", "backtest", "data"},
    "cli": {"experiments", "report", "runs", "data"},
    "serve": {"experiments", "report", "runs", "data"},
}
BELOW = set(ARROWS) - {"cli", "serve"}
ARROWS["experiments"] = BELOW
ARROWS["testing"] = BELOW | {"experiments"}
DATA_ONLY_MARKET = {"features", "backtest", "analysis"}
WITH_CLUSTER = {  # these ask for worker processes, lazily: bulk ingest, and fits of models
    "data": {"data/ingest/work.py"},
    "features": {"features/models/crew.py"},
}


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import; import from the defining module by its full name"
            names = [f"knowable.{alias.name}" for alias in node.names]
            yield from names if node.module == "knowable" else [node.module or ""]


def ours(path: Path) -> list[str]:
    return [name for name in imports(path) if name == "knowable" or name.startswith("knowable.")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in ARROWS, f"{here} is a new room: add it to the table here and to the design"
    for name in ours(path):
        assert name != "knowable", f"{path.name} imports from the root; import from the defining module"
        there = name.split(".")[1]
        allowed = there == here or there in ARROWS[here] or (there == "errors" and here != "kernels")
        assert allowed, f"{here} may not import {there} ({path.name}: {name})"
        if here in WITH_CLUSTER and there == "cluster":
            assert path.relative_to(SRC).as_posix() in WITH_CLUSTER[here], f"{path.name} may not import {name}"
        if here in DATA_ONLY_MARKET and there == "data":
            assert name == "knowable.data.market", f"{here} may import only Market from data ({path.name}: {name})"


def test_the_rooms_form_no_circle() -> None:
    actual: dict[str, set[str]] = {}
    for path in FILES:
        if room(path) != "__init__":
            actual.setdefault(room(path), set()).update(n.split(".")[1] for n in ours(path))
    for here, there in actual.items():
        there.discard(here)
    list(graphlib.TopologicalSorter(actual).static_order())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_kernels_import_numpy_and_numba_only(path: Path) -> None:
    if room(path) == "kernels" and path.name != "__init__.py":
        assert {n.split(".")[0] for n in imports(path)} <= {
            "__future__",
            "typing",
            "math",
            "numpy",
            "numba",
            "knowable",
        }


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_only_cluster_imports_dask(path: Path) -> None:
    if room(path) != "cluster":
        assert not {n.split(".")[0] for n in imports(path)} & {"dask", "distributed"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_stay_under_500_lines_and_functions_under_70(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            doc = 0
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                doc = (first.end_lineno or 0) - first.lineno + 1
            size = (node.end_lineno or 0) - node.lineno + 1 - doc
            assert size <= 70, f"{path.name}: {node.name} has {size} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_dunder_all_is_what_is_public_and_sorted(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    listed = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            listed = ast.literal_eval(node.value)
    if room(path) == "__init__" or path.name in {"__init__.py", "__main__.py"}:
        return
    assert listed is not None, f"{path.name} has no __all__"
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    targets += [n.target for n in tree.body if isinstance(n, ast.AnnAssign)]
    defined |= {t.id for t in targets if isinstance(t, ast.Name)}
    missing = set(listed) - defined
    assert not missing, f"{path.name} lists {missing}, which it does not define"


def test_the_public_face_has_at_most_twenty_names_and_all_load() -> None:
    assert len(knowable.__all__) <= 20
    assert knowable.__all__ == sorted(knowable.__all__)
    for name in knowable.__all__:
        assert getattr(knowable, name).__doc__, f"kn.{name} has no docstring"
    assert set(knowable.__dir__()) == {*knowable.__all__, "features", "search", "__version__"}


def test_an_unknown_public_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match="it offers Choice, Costs"):
        _ = knowable.backtset  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_nothing_unpickles_from_disk(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "pickle.load(" not in text
    assert "allow_pickle=True" not in text
    if room(path) != "cluster":  # what travels between our own processes; never a file
        assert "pickle.loads" not in text
