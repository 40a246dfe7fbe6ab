"""The contract of an executor: batches in, events out. The journal is the truth; an executor may lose anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from knowable.cluster.dispatch import Batch
from knowable.cluster.task import BatchResult

__all__ = ["Died", "Done", "Event", "Executor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A batch came back."""

    batch_id: int
    result: BatchResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """A batch was lost with its worker; the fields are those of `Dispatcher.died`, with the cause in words."""

    batch_id: int
    started: bool | None
    position: int | None
    cause: str
    final: bool = False


Event: TypeAlias = Done | Died


class Executor(Protocol):
    """Runs batches somewhere."""

    startup_seconds: float

    @property
    def threads(self) -> int:
        """How many trials run at once, at this moment."""

    @property
    def window(self) -> int:
        """How many batches may be submitted at once, at this moment."""

    def submit(self, batches: list[Batch]) -> None:
        """Start batches, without waiting for them."""

    def wait(self, timeout: float) -> list[Event]:
        """All events there are; waits up to `timeout` seconds for the first."""

    def close(self) -> None:
        """Drop what is under way and give everything back."""
