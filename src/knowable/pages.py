"""What every HTML page we write needs: its template beside the code, and a file made in one step."""

from __future__ import annotations

import contextlib
import os
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from knowable.errors import InputError, shown

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["packaged", "template", "write_page"]


def write_page(text: str, path: str | Path) -> Path:
    """Write a page; missing folders are made, an older file is replaced in one step. Returns: the path.

    Raises: InputError if `path` is a folder or no path, or if nothing can be written there.
    """
    if not isinstance(path, str | Path) or not str(path) or "\0" in str(path):
        raise InputError(f"`path` must name a file, such as 'report.html', but it is {shown(path)}.")
    target = Path(path)
    if target.is_dir():
        raise InputError(
            f"`path` is the folder {str(target)!r}; name a file in it, such as {str(target / 'report.html')!r}."
        )
    # a lone surrogate (a name cut in mid-character) must not cost the whole page
    content = text.encode("utf-8", errors="replace")
    try:
        _replace(target, content)
    except OSError as error:
        raise InputError(
            f"The page cannot be written to {str(target)!r}: {error.strerror or error}.\n"
            "Give a path in a folder that you may write to."
        ) from error
    return target


def _replace(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=".page-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)  # mkstemp makes files nobody else may read
        Path(part).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(part).unlink()
        raise


@cache
def packaged(package: str, name: str) -> str:
    """The text of a file beside a package's code."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


@cache
def template(package: str, name: str) -> Template:
    """A template beside a package's code, which may include others there; it escapes whatever it is given."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda other: packaged(package, other)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
