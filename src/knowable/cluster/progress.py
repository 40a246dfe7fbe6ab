"""A progress bar with the time left, on a terminal and in a notebook; silent elsewhere unless asked."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import TracebackType
from typing import Any, Self, TextIO

from knowable.cluster.report import Progress

__all__ = ["ProgressBar"]


class ProgressBar:
    """A callback for `drive(progress=...)`; also a context manager that leaves the line tidy.

    Args:
        title: what runs, such as ``"Momentum"``.
        shown: True always, False never, None (the default) on a terminal and in a notebook.
        file: where to; standard error if None.
    """

    def __init__(self, title: str = "trials", *, shown: bool | None = None, file: TextIO | None = None) -> None:
        self._title = title
        self._file = file
        self._notebook = file is None and _in_notebook()
        stream = sys.stderr if file is None else file
        self._shown = (self._notebook or stream.isatty()) if shown is None else shown
        self._bar: Any = None

    def __call__(self, event: Progress) -> None:
        """Show where the drive stands."""
        if not self._shown:
            return
        if self._bar is None:
            self._bar = self._made(event)
        bar = self._bar
        bar.total = event.planned
        bar.n = event.done
        bar.set_postfix_str(_facts(event), refresh=False)
        bar.refresh()

    def _made(self, event: Progress) -> Any:
        # tqdm.auto warns, in a notebook, where widgets are not installed; plain tqdm draws text there
        made: Any = importlib.import_module("tqdm.auto" if self._notebook and _has_widgets() else "tqdm").tqdm
        return made(
            total=event.planned,
            desc=self._title,
            file=self._file,
            leave=True,
            dynamic_ncols=True,
            bar_format="{desc} {bar} {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _facts(event: Progress) -> str:
    facts = []
    if event.done < event.planned:
        left = "?" if event.eta_seconds is None else duration(event.eta_seconds)
        facts.append(f"{left} left")
    values = [value for value in event.best.values() if value is not None]
    if len(values) == 1:
        facts.append(f"best {values[0]:.4g}")
    if event.failed:
        facts.append(f"{event.failed} failed")
    return ", ".join(facts)


def duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3:05, 2:01:09."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def _has_widgets() -> bool:
    return importlib.util.find_spec("ipywidgets") is not None
