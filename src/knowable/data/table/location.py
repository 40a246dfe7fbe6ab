"""`Location`: a folder on this machine or in an object store, and the few things done to the files in it."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from knowable.errors import ConflictError, InputError, StoreError, shown

__all__ = ["Location", "sync_folder"]

_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "adl", "http", "https")
_URL = re.compile(r"^([a-z][a-z0-9+.-]+)://(.*)$", re.IGNORECASE)
_SHORTEST_SECRET = 4  # shorter values, such as "true", are no secrets and would eat half the message


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A folder by path or URL. Its options may hold credentials, so they are never shown.

    Attributes:
        uri: absolute path, or URL without a slash at its end.
        path: the same as a local path; None for a URL.
        given: storage options by name.
    """

    uri: str
    path: Path | None
    given: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, where: object, storage_options: Mapping[str, str] | None = None) -> Self:
        """The location a user names: a path, ``file://`` or a URL such as ``s3://bucket/prefix``.

        Args:
            where: path or URL.
            storage_options: as deltalake takes them, such as ``{"AWS_REGION": "us-east-1"}``.

        Raises: InputError for another scheme, credentials within the URL, or options that are no text.
        """
        if isinstance(where, Location):
            return cls(uri=where.uri, path=where.path, given=where.given)
        if not isinstance(where, (str, os.PathLike)) or not str(where) or "\0" in str(where):
            raise InputError(f"A store lives in a folder or at a URL, but got {shown(where)}.")
        options = _checked(storage_options)
        found = _URL.match(str(where)) if isinstance(where, str) else None
        if found is None or found[1].lower() == "file":
            if options:
                raise InputError("`storage_options` belong to a URL such as s3://bucket/prefix; a folder takes none.")
            path = Path(os.path.abspath(where if found is None else found[2]))  # noqa: PTH100 - links stay links
            return cls(uri=str(path), path=path)
        scheme, rest = found[1].lower(), found[2].strip("/")
        if scheme not in _SCHEMES:
            raise InputError(f"A store at {scheme}:// is not supported; {', '.join(_SCHEMES)} and folders are.")
        if "@" in rest.split("/")[0] and scheme not in ("abfs", "abfss"):
            raise InputError("Credentials do not belong in a URL, which ends up in logs; use storage_options=.")
        if not rest or any(part in ("", ".", "..") for part in rest.split("/")) or "?" in rest:
            raise InputError(
                f"{scheme}:// needs a bucket and a plain prefix after it, such as {scheme}://bucket/prefix."
            )
        return cls(uri=f"{scheme}://{rest}", path=None, given=options)

    @property
    def options(self) -> dict[str, str] | None:
        """Storage options as deltalake takes them; None for a folder."""
        return None if self.path is not None else dict(self.given)

    def child(self, *names: str) -> Location:
        """A folder (or file) within this one."""
        inside = "/".join(_plain(name) for name in names)
        path = None if self.path is None else self.path / inside
        return Location(uri=f"{self.uri}/{inside}", path=path, given=self.given)

    def __str__(self) -> str:
        return self.uri

    def clean(self, message: object) -> str:
        """An error's text on one line, without colours and without any value that may be a secret."""
        text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(message)).split())
        for name, value in self.given:
            if len(value) >= _SHORTEST_SECRET and "url" not in name.lower() and "endpoint" not in name.lower():
                text = text.replace(value, "***")
        return text if len(text) <= 400 else text[:397] + "..."

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Bytes of a file, all or `size` of them from `start`; fewer where the file ends.

        Raises: StoreError naming the file if it is absent or cannot be read.
        """
        try:
            if self.path is not None:
                with (self.path / _plain(name)).open("rb") as file:
                    file.seek(start)
                    return file.read(-1 if size is None else size)
            reader = self._remote().open_input_file(self._key(name))
            reader.seek(start)
            left = reader.size() - start if size is None else min(size, reader.size() - start)
            return bytes(reader.read(left)) if left > 0 else b""
        except Exception as error:  # noqa: BLE001 - object stores raise many kinds
            raise StoreError(
                f"{self.uri}/{name} cannot be read: {self.clean(error)}. Restore it from a copy."
            ) from _plain_cause(error)

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        """Write a whole file: readers see the old one or the new one, and a power cut keeps what was written.

        Args:
            name: of the file.
            data: its bytes.
            new: refuse to replace a file. On an object store two writers at the same instant may both pass; what must
                not race there belongs into a Delta log.

        Raises: ConflictError if `new` and the file exists; StoreError if the disk refuses.
        """
        try:
            if self.path is not None:
                _write_local(self.path / _plain(name), data, new=new)
            else:
                self._write_remote(name, data, new=new)
        except FileExistsError as error:
            raise ConflictError(f"{self.uri}/{name} exists already; it is not replaced.") from error
        except Exception as error:  # noqa: BLE001
            raise StoreError(f"{self.uri}/{name} cannot be written: {self.clean(error)}.") from _plain_cause(error)

    def names(self) -> tuple[str, ...]:
        """Files and folders directly within, sorted; links and hidden parts of a write are left out.

        Raises: StoreError if the folder cannot be listed. An absent folder is empty.
        """
        try:
            if self.path is not None:
                if not self.path.is_dir():
                    return ()
                found = [item.name for item in os.scandir(self.path) if not item.is_symlink()]
            else:
                from pyarrow.fs import FileSelector

                selector = FileSelector(self._key(""), allow_not_found=True, recursive=False)
                found = [item.base_name for item in self._remote().get_file_info_selector(selector)]
        except Exception as error:  # noqa: BLE001
            raise StoreError(f"{self.uri} cannot be listed: {self.clean(error)}.") from _plain_cause(error)
        return tuple(sorted(name for name in found if name and not name.startswith(".part-")))

    def abandoned(self, before_ns: int) -> tuple[str, ...]:
        """Files directly within that were last written before a moment, hidden parts of unfinished writes too; sorted.

        Args: before_ns: nanoseconds since 1970 UTC. Raises: StoreError if the folder cannot be listed.
        """
        found: list[tuple[str, int]] = []
        try:
            if self.path is not None:
                inside = os.scandir(self.path) if self.path.is_dir() else ()
                found = [(item.name, item.stat().st_mtime_ns) for item in inside if item.is_file(follow_symlinks=False)]
            else:
                from pyarrow.fs import FileSelector, FileType

                selector = FileSelector(self._key(""), allow_not_found=True, recursive=False)
                listed = self._remote().get_file_info_selector(selector)
                found = [(item.base_name, item.mtime_ns or before_ns) for item in listed if item.type == FileType.File]
        except Exception as error:  # noqa: BLE001
            raise StoreError(f"{self.uri} cannot be listed: {self.clean(error)}.") from _plain_cause(error)
        return tuple(sorted(name for name, written in found if written < before_ns))

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name. Raises: StoreError if the place cannot be asked."""
        if self.path is not None:
            return (self.path / _plain(name)).exists()
        return self._remote_size(name) is not None

    def size(self, name: str) -> int:
        """Bytes of a file. Raises: StoreError if it is absent."""
        found = None
        if self.path is None:
            found = self._remote_size(name)
        else:
            with contextlib.suppress(OSError):
                found = (self.path / _plain(name)).stat().st_size
        if found is None:
            raise StoreError(f"{self.uri}/{name} cannot be read: there is no such file. Restore it from a copy.")
        return found

    def delete(self, name: str) -> None:
        """Remove a file; one that is absent is fine. Raises: StoreError if the disk refuses."""
        try:
            if self.path is not None:
                (self.path / _plain(name)).unlink(missing_ok=True)
            elif self._remote_size(name) is not None:
                self._remote().delete_file(self._key(name))
        except Exception as error:  # noqa: BLE001
            raise StoreError(f"{self.uri}/{name} cannot be removed: {self.clean(error)}.") from _plain_cause(error)

    def _write_remote(self, name: str, data: bytes, *, new: bool) -> None:
        if new and self.exists(name):
            raise FileExistsError(name)
        # the stream is used directly: the wrapper around it passes on buffers, which it does not take
        stream = self._remote()._handler.open_output_stream(self._key(name), None)  # noqa: SLF001
        stream.write(bytes(data))
        stream.close()

    def _remote_size(self, name: str) -> int | None:
        """Bytes of an object, None if it is absent; one request (asking what a path is would list it, too)."""
        try:
            return int(self._remote().open_input_file(self._key(name)).size())
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001
            raise StoreError(f"{self.uri}/{name} cannot be read: {self.clean(error)}.") from _plain_cause(error)

    def _remote(self) -> Any:
        return _handler(_bucket(self.uri), self.given)

    def _key(self, name: str) -> str:
        prefix = self.uri[len(_bucket(self.uri)) :].strip("/")
        return "/".join(part for part in (prefix, _plain(name) if name else "") if part)


def _checked(options: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    if options is None:
        return ()
    if not isinstance(options, Mapping) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in options.items()
    ):
        raise InputError("`storage_options` maps names to text, such as {'AWS_REGION': 'us-east-1'}.")
    return tuple(sorted(options.items()))


def _plain(name: str) -> str:
    """A relative name that stays inside. Raises: StoreError, since such names come from a log."""
    if name.startswith(("/", "\\")) or "\0" in name or "://" in name or any(p in ("..", "") for p in name.split("/")):
        raise StoreError(f"{shown(name)} is no name within a store's folder.")
    return name


def _bucket(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.split('/')[0]}"


@functools.lru_cache(maxsize=32)
def _handler(bucket: str, options: tuple[tuple[str, str], ...]) -> Any:
    from deltalake.fs import DeltaStorageHandler

    return DeltaStorageHandler(bucket, dict(options))


def _plain_cause(error: Exception) -> Exception | None:
    """A local cause is shown; a remote one could carry more than it should."""
    return error if isinstance(error, OSError) and error.errno is not None else None


def _write_local(path: Path, data: bytes, *, new: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".part-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            os.link(part, path)
        else:
            part.rename(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
