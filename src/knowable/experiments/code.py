"""Which code a result came from: a strategy's source, pinned by a hash of all that it can reach in its own file."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from knowable.errors import RunError, StrategyError
from knowable.strategy import Strategy, check_strategy_class

__all__ = ["StrategyCode", "check_same_code", "import_file", "load_strategy", "pin_strategy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyCode:
    """Where a strategy lives and what its code was.

    Attributes:
        name: class name.
        qualname: name within its module, such as ``"Momentum"``.
        file: the file it was defined in, or None for a notebook or an interactive session.
        fingerprint: hash of the code; equal code gives equal hashes on every machine.
        source: the text that was hashed, for people to read.
    """

    name: str
    qualname: str
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
    source = _reachable_source(Path(file), strategy.__qualname__) if file else _bytecode_text(strategy)
    digest = hashlib.sha256(source.encode()).hexdigest()[:32]
    return StrategyCode(
        name=strategy.__name__, qualname=strategy.__qualname__, file=file, fingerprint=digest, source=source
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
    strategy = _import_class(Path(file), name)
    check_same_code(pin, strategy, where=where)
    return strategy


def import_file(file: Path) -> types.ModuleType:
    """Import a Python file under a name of its own, anew each time. Raises: StrategyError if its code raises."""
    path = file.resolve()
    name = f"knowable_strategy_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RunError(f"{file} is not a Python file that can be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise StrategyError(f"Importing {file} raised {type(error).__name__}: {error}") from error
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
    text = file.read_text(encoding="utf-8")
    body = ast.parse(text).body
    binds = {name: number for number, node in enumerate(body) for name in _bound(node)}
    wanted, queue = set(), [qualname.split(".", maxsplit=1)[0]]
    while queue:
        number = binds.get(queue.pop())
        if number is not None and number not in wanted:
            wanted.add(number)
            queue += [node.id for node in ast.walk(body[number]) if isinstance(node, ast.Name)]
    return "\n".join(ast.unparse(body[number]) for number in sorted(wanted))


def _bound(node: ast.stmt) -> list[str]:
    """Names that a statement at module level gives a value."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _bytecode_text(strategy: type[Strategy]) -> str:
    """What a class without a file does: its parameters, constants and the instructions of its methods, as text."""
    lines = [f"class {strategy.__qualname__}"]
    for name, value in sorted(vars(strategy).items()):
        if inspect.isfunction(value):
            lines += _code_lines(name, value.__code__)
        elif not name.startswith("__"):
            lines.append(f"{name} = {value!r}")
    return "\n".join(lines)


def _code_lines(name: str, code: types.CodeType) -> list[str]:
    constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
    lines = [f"{name}: {code.co_code.hex()} {code.co_names} {code.co_varnames} {constants!r}"]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            lines += _code_lines(f"{name}.{constant.co_name}", constant)
    return lines


def _import_class(file: Path, qualname: str) -> type[Strategy]:
    module = import_file(file)
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise RunError(f"{file} has no {qualname} any more.")
    return check_strategy_class(found)
