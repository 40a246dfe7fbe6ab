"""Finding a strategy by what a user types: ``file.py:Name`` or ``package.module:Name``."""

from __future__ import annotations

import importlib
import inspect
import types
from pathlib import Path
from typing import Any

from knowable.errors import InputError, StrategyError, unknown_name
from knowable.experiments.code import import_file, reachable_module
from knowable.strategy import Strategy

__all__ = ["find_strategy"]


def find_strategy(text: str) -> type[Strategy]:
    """Import the strategy that `text` names.

    Args:
        text: ``"strategies/momentum.py:Momentum"``, ``"strategies/momentum.py"`` if the file has one strategy only, or
            ``"package.module:Momentum"``.

    Raises: InputError if there is no such file or module; UnknownNameError if it has no such strategy; StrategyError
        if importing it raises.
    """
    place, _, name = text.partition(":")
    if not place:
        raise InputError(f"A strategy is named like strategies/momentum.py:Momentum, but {text!r} came.")
    module = _file(place, name) if place.endswith(".py") else _module(place)
    found = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Strategy) and value.__module__ == module.__name__
    }
    if name:
        if name not in found:
            raise unknown_name("strategy", name, found, where=place)
        return found[name]
    if len(found) != 1:
        raise InputError(
            f"{place} has {len(found)} strategies ({', '.join(found) or 'none'}); name one: {place}:"
            f"{next(iter(found), 'Name')}."
        )
    return next(iter(found.values()))


def _file(place: str, name: str) -> types.ModuleType:
    path = Path(place)
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        listed = f" {path.parent}/ has {', '.join(beside[:8])}." if beside else ""
        raise InputError(f"There is no file {place}.{listed}")
    module = reachable_module(path, name) if name else import_file(path)
    return module if hasattr(module, name or "__name__") else import_file(path)


def _module(place: str) -> types.ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise InputError(f"There is no module {place!r}: {error}. For a file, give its path with .py.") from error
    except Exception as error:
        raise _broken(place, error) from error


def _broken(place: str, error: Any) -> StrategyError:
    return StrategyError(f"Importing {place} raised {type(error).__name__}: {error}")
