"""Send the user's code to workers as it is: from a notebook, a script, or a file that no worker could import."""

from __future__ import annotations

import contextlib
import importlib.machinery
import site
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle

from knowable.errors import InputError

__all__ = ["opened", "pickled_by_value"]

MAX_BYTES = 32 * 2**20


def pickled_by_value(value: Any, *, far: bool, what: str = "`evaluate`") -> bytes:
    """`value` as bytes that a worker can load, the code of user modules included.

    Args:
        value: usually a callable that holds a strategy class.
        far: workers on other machines or started by others, which may not have, or have other, user modules; then
            all code that is not installed travels. On this machine only code that cannot be imported there does.
        what: how messages call it.
    Raises: InputError if it cannot be sent, or is too large to send to each worker.
    """
    first: Exception | None = None
    for modules in (_to_send(far=far), []):
        try:
            with _by_value(modules):
                sent = bytes(cloudpickle.dumps(value))
        except Exception as error:  # noqa: BLE001 - a pickle may raise anything
            first = first or error
            continue
        if len(sent) > MAX_BYTES:
            raise InputError(
                f"{what} takes {len(sent) / 2**20:.0f} MB to send to each worker; at most {MAX_BYTES / 2**20:.0f} "
                "MB are sent.\nHold data by the folder they are mapped from (Market.save, Market.load) instead of "
                "inside the strategy."
            )
        return sent
    raise InputError(
        f"{what} cannot be sent to a worker: {type(first).__name__}: {first}.\n"
        "Keep open files, locks and connections out of the strategy; make them inside."
    ) from first


def opened(sent: bytes) -> Any:
    """What `pickled_by_value` packed; for bytes that came from our own process, never for a file."""
    return cloudpickle.loads(sent)


@contextlib.contextmanager
def _by_value(modules: list[types.ModuleType]) -> Iterator[None]:
    registered = []
    try:
        for module in modules:
            if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _to_send(*, far: bool) -> list[types.ModuleType]:
    installed = _installed_places()
    found = []
    for name, module in list(sys.modules.items()):
        if name in {"__main__", "__mp_main__"} or name.partition(".")[0] == "knowable":
            continue
        file = getattr(module, "__file__", None)
        if not isinstance(module, types.ModuleType) or file is None or module.__name__ != name:
            continue
        if not str(file).startswith(installed) and (far or not _importable(name, file)):
            found.append(module)
    return found


def _importable(name: str, file: str) -> bool:
    """Whether a fresh process with the same search path would find the same file under this name."""
    path: Any = None
    spec = None
    for part in _prefixes(name):
        try:
            spec = importlib.machinery.PathFinder.find_spec(part, path)
        except (ImportError, ValueError):
            return False
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return spec is not None and spec.origin is not None and Path(spec.origin) == Path(file)


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _installed_places() -> tuple[str, ...]:
    places = {sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple({*places, *site.getsitepackages(), site.getusersitepackages()})
