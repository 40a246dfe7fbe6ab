"""A tiny study and an objective with faults on order, to try executors and journals with."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from knowable.runs import Journal, Outcome, trial_key

__all__ = ["Asked", "ChainStudy", "ToyObjective", "as_table", "toy_key", "toy_value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A trial as a study asks for it."""

    number: int
    params: Mapping[str, object]
    source: str = "chain"


class ChainStudy:
    """Asks in groups; each group follows from every value of the one before, so a lost or wrong value changes the rest.

    Raises AssertionError when a trial is told twice or was never asked.
    """

    def __init__(self, n_trials: int, *, group: int = 8, seed: int = 0) -> None:
        self.n_trials, self.group, self.seed = n_trials, group, seed
        self.told: dict[int, float | None] = {}
        self.asked: dict[int, Mapping[str, object]] = {}

    def start(self) -> list[Asked]:
        """The first group."""
        return self._ask()

    def finish(self, number: int, value: float | None) -> list[Asked]:
        """Take a value; the next group once this one is complete."""
        if number not in self.asked or number in self.told:
            raise AssertionError(f"trial {number} was never asked, or told twice")
        self.told[number] = value
        return self._ask() if len(self.told) == len(self.asked) < self.n_trials else []

    def _ask(self) -> list[Asked]:
        first = len(self.asked)
        history = repr([self.told[number] for number in range(max(first - self.group, 0), first)])
        trials = []
        for number in range(first, min(first + self.group, self.n_trials)):
            digest = hashlib.sha256(f"{self.seed}/{number}/{history}".encode()).digest()
            params = {"i": number, "x": int.from_bytes(digest[:4], "little") / 2**32}
            self.asked[number] = params
            trials.append(Asked(number=number, params=params))
        return trials


@dataclass(frozen=True, kw_only=True)
class ToyObjective:
    """``y = x * x`` after a while, or a fault at chosen trials.

    Args:
        seconds: mean time of a trial; each takes 0 to twice that, decided by its x, so completion is shuffled.
        faults: by trial number: "raise", "segfault", "kill", "exit", "sleep", "spin", "memory", "hold" (sleeps with
            the GIL held), "interrupt" (Ctrl-C), or "kill once" (needs `log`).
        log: a file that gets a line ``number pid`` for each evaluation, to count them.
        calls: a file that gets the number of trials of each call.
    """

    seconds: float = 0.0
    faults: Mapping[int, str] = field(default_factory=dict)
    log: str | None = None
    calls: str | None = None

    def __call__(self, study: str, trials: list[dict[str, object]]) -> list[Outcome]:
        """Evaluate the trials in order."""
        if self.calls is not None:
            _append(self.calls, f"{len(trials)}")
        return [self._one(study, int(str(t["i"])), float(str(t["x"]))) for t in trials]

    def _one(self, study: str, number: int, x: float) -> Outcome:
        if self.log is not None:
            _append(self.log, f"{study} {number} {os.getpid()}")
        if number in self.faults:
            self._fault(self.faults[number], number)
        if self.seconds:
            time.sleep(self.seconds * 2 * (x * 7 % 1))
        return Outcome(metrics={"y": x * x, "nan": float("nan")}, moments=struct.pack("<3d", 1.0, x, x * x))

    def _fault(self, fault: str, number: int) -> None:
        if fault == "raise":
            raise ArithmeticError(f"fault of trial {number}")
        if fault == "segfault":
            ctypes.string_at(0)
        elif fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "exit":
            os._exit(3)
        elif fault == "sleep":
            time.sleep(600)
        elif fault == "spin":
            while True:
                number += 1
        elif fault == "hold":
            ctypes.PyDLL(None).sleep(600)
        elif fault == "memory":
            kept = []
            while True:
                kept.append(bytearray(os.urandom(1)) * 2**24)
        elif fault == "interrupt":
            raise KeyboardInterrupt
        elif fault == "kill once":
            once = Path(f"{self.log}.{number}")
            if not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise AssertionError(f"unknown fault {fault!r}")


def toy_key(study: str, params: Mapping[str, object]) -> str:
    """Name a toy trial."""
    return trial_key(study=study, params=params)


def toy_value(outcome: Outcome) -> float | None:
    """What the chain study minimizes."""
    return outcome.metrics["y"]


def as_table(journal: Journal) -> list[tuple[object, ...]]:
    """All that must be equal between two runs, for any number of workers and any interruptions."""
    return [
        (r.study, r.number, r.key, dict(r.params), r.outcome.kind, r.outcome.metrics.get("y"), r.outcome.moments)
        for r in journal.trials()
    ]


def _append(path: str, line: str) -> None:
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)
