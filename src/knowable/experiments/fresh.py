"""A strategy in a process where it never ran before: nothing that earlier runs left behind can help it there."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from knowable.backtest.weights import target_weights
from knowable.data.market import Market
from knowable.errors import KnowableError, RunError
from knowable.experiments.code import load_strategy, pin_strategy
from knowable.strategy import Strategy
from knowable.validate.memory import Memory
from knowable.validate.reach import reach_of

__all__ = ["fresh_runs", "main"]

_SECONDS = 300.0
_HASH_SEED = "20260101"


def fresh_runs(strategy: Strategy, market: Market, cuts: Sequence[int]) -> dict[int, np.ndarray]:
    """Run a strategy on the first bars of a market in a new Python process, which hashes text by another seed.

    Args:
        strategy: an instance whose class can be imported from a file. market: it is saved into a temporary folder.
        cuts: how many bars to show in each run; every run begins as the first did.

    Returns: cut -> (cut, n_assets) weights; cuts at which the strategy refused to run are left out.
    Raises: RunError if it cannot be made again there, fails on the last cut, or takes longer than five minutes.
    """
    pin = pin_strategy(type(strategy)).plain()
    if pin["file"] is None:
        raise RunError(f"{pin['name']} was defined in a session, so no other process can import it.")
    given = set(vars(strategy)) - set(vars(type(strategy)(**strategy.params)))
    if given:
        raise RunError(f"`{min(given)}` was set after {pin['name']} was made, so another process cannot make it again.")
    with tempfile.TemporaryDirectory(prefix="knowable-fresh-") as text:
        folder = Path(text)
        market.save(folder / "market")
        wanted = [int(cut) for cut in cuts]
        asked = {"pin": pin, "params": strategy.params, "cuts": wanted}
        (folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        _run(folder)
        if (folder / "refused.txt").exists():
            raise RunError((folder / "refused.txt").read_text(encoding="utf-8"))
        made = {cut: folder / f"{cut}.npy" for cut in wanted}
        return {cut: np.load(file) for cut, file in made.items() if file.exists()}


def main(folder: Path) -> None:
    """What the new process does: read what is asked, run it, and write an array a cut."""
    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    market = Market.load(folder / "market")
    try:
        strategy = load_strategy(asked["pin"], where="the check")(**asked["params"])
        memory = Memory(reach_of(strategy))
    except KnowableError as error:
        (folder / "refused.txt").write_text(str(error), encoding="utf-8")
        return
    for cut in asked["cuts"]:
        memory.restore()
        try:
            weights = target_weights(copy.deepcopy(strategy), market.until(cut))
        except KnowableError as error:
            if cut == max(asked["cuts"]):
                (folder / "refused.txt").write_text(str(error), encoding="utf-8")
            continue
        np.save(folder / f"{cut}.npy", weights)


def _run(folder: Path) -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    seed = _HASH_SEED if os.environ.get("PYTHONHASHSEED") != _HASH_SEED else "1"
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-m", "knowable.experiments.fresh", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, with a folder that we made
            command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"another process took longer than {_SECONDS:g} s.") from error
    except OSError as error:
        raise RunError(f"another process could not be started: {error}.") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise RunError(f"another process ended with code {done.returncode}: {last}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
