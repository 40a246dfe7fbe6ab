"""Names of runs and studies that become folders: an allow-list, so that no name can reach outside."""

from __future__ import annotations

import re
from pathlib import Path

from knowable.errors import InputError, RunError, shown, unknown_name

__all__ = ["check_run_name", "run_folder"]

_ALLOWED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def check_run_name(name: object) -> str:
    """Return `name` if it may name a run, else raise InputError.

    Allowed: 1 to 100 letters, digits, ``.``, ``_`` and ``-`` (ASCII), the first one a letter, digit or ``_``. So
    no separator, no ``..``, no NUL, no right-to-left mark, no name that a shell takes for an option.
    """
    if isinstance(name, str) and _ALLOWED.fullmatch(name) and ".." not in name:
        return name
    raise InputError(
        f"A run name has 1 to 100 letters, digits, '.', '_' or '-', and starts with a letter or digit, "
        f"but name={shown(name)}."
    )


def run_folder(runs_dir: str | Path, name: str) -> Path:
    """The folder of the run `name` in `runs_dir`.

    Raises: InputError on a name that is not allowed; UnknownNameError if there is no such run, with near ones;
        RunError if it is a link to a place outside `runs_dir`.
    """
    root = Path(runs_dir)
    folder = root / check_run_name(name)
    if not folder.is_dir():
        known = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
        raise unknown_name("run", name, known, where=f"'{root}'")
    if not inside(folder, root):
        raise RunError(
            f"The run {name!r} is a link that leads outside '{root}', to '{folder.resolve()}'; it is not read.\n"
            "Copy the run folder itself into the runs folder."
        )
    return folder


def inside(folder: Path, root: Path) -> bool:
    """Whether `folder`, all links followed, lies in `root`."""
    return folder.resolve().is_relative_to(root.resolve())
