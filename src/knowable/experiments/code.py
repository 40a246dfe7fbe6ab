"""Which code a result came from: a strategy's source, pinned by a hash of all that it can reach in its own file."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import sys
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from knowable.errors import RunError, StrategyError
from knowable.features.models.content import CodeText
from knowable.strategy import Strategy, check_strategy_class

__all__ = ["StrategyCode", "check_same_code", "import_file", "load_strategy", "pin_strategy", "reachable_module"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyCode:
    """Where a strategy lives and what its code was.

    Attributes:
        name: class name.
        qualname: name within its module, such as ``"Momentum"``.
        module: the module's name when it ran.
        file: the file it was defined in, or None for a notebook or an interactive session.
        fingerprint: hash of the code; equal code gives equal hashes on every machine.
        source: the text that was hashed, for people to read.
    """

    name: str
    qualname: str
    module: str
    file: str | None
    fingerprint: str
    source: str

    def plain(self) -> dict[str, Any]:
        """As a mapping of plain values, for a run's header."""
        return asdict(self)


def pin_strategy(strategy: type[Strategy]) -> StrategyCode:
    """Hash a strategy's code: its class, and every function, class, constant and import of its file that it names.

    A change elsewhere in the file does not change the hash. Modules it imports are pinned by name only.
    """
    file = _file_of(strategy)
    source = _reachable_source(Path(file), strategy.__qualname__) if file else ""
    source = source or _bytecode_text(strategy)
    digest = hashlib.sha256(source.encode()).hexdigest()[:32]
    return StrategyCode(
        name=strategy.__name__,
        qualname=strategy.__qualname__,
        module=strategy.__module__,
        file=file,
        fingerprint=digest,
        source=source,
    )


def load_strategy(pin: Mapping[str, Any], *, where: str) -> type[Strategy]:
    """Import the strategy a run was made with, and check that its code is still the same.

    Args:
        pin: what `StrategyCode.plain` gave.
        where: the run, for messages.

    Raises: RunError if the file is gone, was never there (a notebook), or its code has changed.
    """
    name, file = pin["qualname"], pin["file"]
    if file is None:
        raise RunError(
            f"{name} of {where} was defined in a notebook or session, so there is no file to load it from.\n"
            f"Define it again and pass it: kn.resume({where!r}, strategy={name})."
        )
    if not Path(file).is_file():
        raise RunError(
            f"{where} needs {name} from {file}, which is not there any more.\n"
            f"Put the file back, or pass the class: kn.resume({where!r}, strategy={name})."
        )
    strategy = _import_class(pin)
    check_same_code(pin, strategy, where=where)
    return strategy


def import_file(file: Path) -> types.ModuleType:
    """Run a whole Python file under a name of its own. Raises: StrategyError if its code raises."""
    return _executed(file.resolve(), ast.parse(file.read_text(encoding="utf-8"), str(file)).body)


def reachable_module(file: Path, qualname: str) -> types.ModuleType:
    """Run only what a class needs of its file: a script's own calls, such as a backtest below the class, are not."""
    return _executed(file.resolve(), _reachable(file, qualname))


def _executed(path: Path, body: list[ast.stmt]) -> types.ModuleType:
    name = f"knowable_strategy_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    before = sys.modules.get(name)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))  # as `python file.py` does, so that its neighbours can be imported
    try:
        exec(compile(ast.Module(body=body, type_ignores=[]), str(path), "exec"), module.__dict__)  # noqa: S102
    except Exception as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise StrategyError(f"Importing {path.name} raised {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def check_same_code(pin: Mapping[str, Any], strategy: type[Strategy], *, where: str) -> None:
    """Raise RunError, naming the first line that differs, unless `strategy` is the code that `pin` holds."""
    now = pin_strategy(strategy)
    if now.fingerprint == pin["fingerprint"]:
        return
    before, after = pin["source"].splitlines(), now.source.splitlines()
    changed = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    was = before[changed].strip() if changed < len(before) else "(nothing)"
    new = after[changed].strip() if changed < len(after) else "(nothing)"
    raise RunError(
        f"The code of {pin['qualname']} has changed since {where} began, so its trials cannot be mixed with new ones.\n"
        f"  then: {was[:100]}\n  now:  {new[:100]}\n"
        "Put the old code back, or start a new run."
    )


def _file_of(strategy: type[Strategy]) -> str | None:
    module = sys.modules.get(strategy.__module__)
    file = getattr(module, "__file__", None)
    if file is None or "<locals>" in strategy.__qualname__ or not Path(file).is_file():
        return None
    return str(Path(file).resolve())


def _reachable_source(file: Path, qualname: str) -> str:
    """The class and whatever of its module it names, directly or through others, in the file's own order."""
    return "\n".join(ast.unparse(node) for node in _reachable(file, qualname))


def _reachable(file: Path, qualname: str) -> list[ast.stmt]:
    body = ast.parse(file.read_text(encoding="utf-8"), str(file)).body
    binds: dict[str, list[int]] = {}
    for number, node in enumerate(body):
        for name in _bound(node):
            binds.setdefault(name, []).append(number)
    wanted: set[int] = set()
    queue = [qualname.split(".", maxsplit=1)[0]]
    while queue:
        for number in binds.get(queue.pop(), []):
            if number not in wanted:
                wanted.add(number)
                queue += [node.id for node in ast.walk(body[number]) if isinstance(node, ast.Name)]
    future = [k for k, node in enumerate(body) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    return [body[number] for number in sorted(wanted.union(future) if wanted else wanted)]


def _bound(node: ast.stmt) -> list[str]:
    """Names that a statement at module level gives a value, also within its branches."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".", maxsplit=1)[0] for alias in node.names]
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    for _, inner in ast.iter_fields(node):
        for statement in inner if isinstance(inner, list) else []:
            if isinstance(statement, ast.ExceptHandler):
                names += [name for each in statement.body for name in _bound(each)]
            elif isinstance(statement, ast.stmt):
                names += _bound(statement)
    return names


def _bytecode_text(strategy: type[Strategy]) -> str:
    """What a class without a file does: its parameters and constants, the instructions of its methods and of every
    function and class of the same session that they name, as text without addresses.
    """
    text = CodeText(lambda module: module == strategy.__module__)
    for each in strategy.__mro__:
        if each is Strategy:
            break
        text.add(each.__name__, each)
    return "\n".join(text.lines)


def _import_class(pin: Mapping[str, Any]) -> type[Strategy]:
    """The class from where Python has it already, from its package, or from what it needs of its file and no more."""
    file, found = Path(pin["file"]), None
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if (
            path is not None
            and path.endswith(".py")
            and Path(path).resolve() == file
            and _named(module, pin["qualname"])
        ):
            found = module
    if found is None and "." in pin.get("module", ""):
        with contextlib.suppress(ImportError):
            found = importlib.import_module(pin["module"])
    if found is None:
        found = reachable_module(file, pin["qualname"])
    strategy = _named(found, pin["qualname"])
    if strategy is None:
        raise RunError(f"{file} has no {pin['qualname']} any more.")
    return check_strategy_class(strategy)


def _named(module: types.ModuleType, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
