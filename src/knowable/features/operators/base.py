"""What an operator is: a kernel, how its state starts, and what settings it takes; nothing about loops.

The batch driver (`program`) calls `apply` once over all rows, the step driver (`stepper`) with one row and the state it
carried; both run the same kernel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

__all__ = ["Growing", "Operator", "spread"]


class Growing(ABC):
    """A state whose arrays change their sizes as bars come; any other state is a named tuple of arrays that do not."""

    _fields: ClassVar[tuple[str, ...]]  # what the arrays are called, as a named tuple says it

    @abstractmethod
    def arrays(self) -> list[np.ndarray]:
        """All it carries: always as many arrays, of the same types and numbers of dimensions."""

    @abstractmethod
    def restore(self, arrays: Sequence[np.ndarray]) -> None:
        """Take over what `arrays` gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One row of the table.

    Attributes:
        name: as written, ``mean`` or ``+``.
        apply: called as ``apply(*inputs, *settings, state, out)``, without `state` where `start` is None. A NaN it
            computes is written as np.nan: the bits of others depend on processor and place.
        start: ``start(n_assets, *settings)`` gives the state before the first row; None if it has no memory.
        first: ``first(*settings)``: rows needed for the first value; a batch of fewer is all NaN and needs no state.
        enough: ``enough(n_bars, *settings)``: settings that give the same on so few rows, with a smaller state.
        settings: names of the settings, keys of SETTINGS.
        arity: how many inputs it takes; the fewest if `variadic`.
        variadic: whether it takes further inputs of the same kind as its last.
        clock: what its last input is beside those, if it reads a clock: ``ends`` or ``day``. An operator with memory
            and no clock of its own can be gated by one (see gate.py); its kernel need not know.
        version: of the state: raised by whoever changes what its arrays mean, so that one stored before is refused.
        coded: whether a setting of it is Python code, so that no text can hold it, nor chance draw it.
        across: whether an asset's value depends on the row's other assets; its first input then shows members only.
        drawn: whether random expressions hold it; what may find no answer, or follows a path of decisions, is under
            laws of its own.
    """

    name: str
    apply: Callable[..., Any]
    start: Callable[..., Any] | None = None
    first: Callable[..., int] | None = None
    enough: Callable[..., tuple[Any, ...]] | None = None
    settings: tuple[str, ...] = ()
    arity: int = 1
    variadic: bool = False
    clock: str | None = None
    version: int = 1
    coded: bool = False
    across: bool = False
    drawn: bool = True


def spread(x: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """`x` itself, or the panel that holds a number everywhere, for kernels whose inputs cannot be (1, 1)."""
    if x.shape == shape:
        return x
    made = np.full(shape, x[0, 0])
    made.flags.writeable = False
    return made
