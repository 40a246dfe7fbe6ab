"""The house rules: import arrows, sizes, public names."""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Iterable, Iterator
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
    "features": {"kernels", "data", "params", "cluster", "calendars"},
    "portfolio": {"features", "data", "kernels", "calendars", "params"},
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
DATA_ONLY_MARKET = {"features", "portfolio", "backtest", "analysis"}
WITH_CLUSTER = {  # these ask for worker processes, lazily: bulk ingest, and fits of models
    "data": {"data/ingest/work.py"},
    "features": {"features/models/crew.py"},
}


def room(path: Path) -> str:
    return within(path).split("/", maxsplit=1)[0].removesuffix(".py")


def within(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Modules by their full names; a level above 0 is shown by its dots."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"knowable.{alias.name}" for alias in node.names]
            module = "." * node.level + (node.module or "")
            found += names if module == "knowable" else [module]
    return tuple(found)


def ours(path: Path) -> list[str]:
    return [name for name in imports(path) if name == "knowable" or name.startswith("knowable.")]


def none_of(faults: Iterable[str]) -> None:
    """Fails with all faults at once."""
    found = list(faults)
    assert not found, "\n".join(found)


def test_a_file_imports_only_what_its_room_may() -> None:
    none_of(f"{within(path)} {fault}" for path in FILES if room(path) != "__init__" for fault in misplaced(path))


def misplaced(path: Path) -> Iterator[str]:
    here = room(path)
    if here not in ARROWS:
        yield f"is in a new room, {here}: add it to the table here and to the design"
        return
    for name in imports(path):
        if name.startswith("."):
            yield f"imports {name}, which is relative; import from the defining module by its full name"
    for name in ours(path):
        if name == "knowable":
            yield "imports from the root; import from the defining module"
            continue
        there = name.split(".")[1]
        if not (there == here or there in ARROWS[here] or (there == "errors" and here != "kernels")):
            yield f"imports {name}, but {here} may not import {there}"
        if here in WITH_CLUSTER and there == "cluster" and within(path) not in WITH_CLUSTER[here]:
            yield f"may not import {name}"
        if here in DATA_ONLY_MARKET and there == "data" and name != "knowable.data.market":
            yield f"imports {name}, but {here} may import only Market from data"


def test_the_rooms_form_no_circle() -> None:
    actual: dict[str, set[str]] = {}
    for path in FILES:
        if room(path) != "__init__":
            actual.setdefault(room(path), set()).update(n.split(".")[1] for n in ours(path))
    for here, there in actual.items():
        there.discard(here)
    list(graphlib.TopologicalSorter(actual).static_order())


def test_kernels_import_numpy_and_numba_only() -> None:
    allowed = {"__future__", "typing", "math", "numpy", "numba", "knowable"}
    kernels = [path for path in FILES if room(path) == "kernels" and path.name != "__init__.py"]
    assert len(kernels) > 20
    none_of(
        f"{within(path)} imports {name}"
        for path in kernels
        for name in imports(path)
        if name.split(".")[0] not in allowed
    )


def test_only_cluster_imports_dask() -> None:
    none_of(
        f"{within(path)} imports {name}"
        for path in FILES
        for name in imports(path)
        if room(path) != "cluster" and name.split(".")[0] in {"dask", "distributed"}
    )


def test_files_stay_under_500_lines_and_functions_under_70() -> None:
    sizes = {path: len(text_of(path).splitlines()) for path in FILES}
    none_of(f"{within(path)} has {size} lines" for path, size in sizes.items() if size > 500)
    none_of(
        f"{within(path)}: {node.name} has {size} lines"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (size := lines_of(node)) > 70
    )


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its docstring aside."""
    first, size = node.body[0], (node.end_lineno or 0) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        size -= (first.end_lineno or 0) - first.lineno + 1
    return size


def test_every_file_lists_its_public_names_and_defines_them() -> None:
    files = [path for path in FILES if path.name not in {"__init__.py", "__main__.py"}]
    none_of(f"{within(path)} {fault}" for path in files if (fault := unlisted(tree_of(path))))


def unlisted(tree: ast.Module) -> str:
    listed = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            listed = ast.literal_eval(node.value)
    if listed is None:
        return "has no __all__"
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    targets += [n.target for n in tree.body if isinstance(n, ast.AnnAssign)]
    defined |= {t.id for t in targets if isinstance(t, ast.Name)}
    missing = set(listed) - defined
    return f"lists {missing}, which it does not define" if missing else ""


def test_the_public_face_has_at_most_twenty_names_and_all_load() -> None:
    assert len(knowable.__all__) <= 20
    assert knowable.__all__ == sorted(knowable.__all__)
    for name in knowable.__all__:
        assert getattr(knowable, name).__doc__, f"kn.{name} has no docstring"
    assert set(knowable.__dir__()) == {*knowable.__all__, "features", "portfolio", "search", "__version__"}


def test_an_unknown_public_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match="it offers Choice, Costs"):
        _ = knowable.backtset  # type: ignore[attr-defined]


def test_nothing_unpickles_from_disk() -> None:
    # pickle.loads: what travels between our own processes; never a file
    none_of(
        f"{within(path)} has {call}"
        for path in FILES
        for call in ("pickle.load(", "allow_pickle=True", *(["pickle.loads"] if room(path) != "cluster" else []))
        if call in text_of(path)
    )
