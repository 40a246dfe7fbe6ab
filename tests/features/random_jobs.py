"""A process of its own that steps expressions on from a folder: ``python random_jobs.py FOLDER step|end``.

The folder holds jobs.json, a list of {text, market}; the markets; and for each job a file with its state and the rows
so far, replaced as one. ``step`` goes on in small pieces until it is killed; ``end`` goes on from what it finds.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import knowable.features  # noqa: F401 - so that markets read expressions
from knowable.data.market import Market


def load(folder: Path, k: int) -> tuple[bytes, np.ndarray]:
    with np.load(folder / f"{k}.npz", allow_pickle=False) as page:
        return page["state"].tobytes(), page["rows"]


def save(folder: Path, k: int, state: bytes, rows: np.ndarray) -> None:
    part = folder / f"{k}.part.npz"
    np.savez(part, state=np.frombuffer(state, np.uint8), rows=rows)
    part.replace(folder / f"{k}.npz")


def go_on(stepper: Any, market: Market, rows: np.ndarray, to: int, rng: random.Random) -> np.ndarray:
    """Rows up to bar `to`: by single bars and in pieces, as chance has it."""
    made = [rows]
    while stepper.n_bars < to:
        at = stepper.n_bars
        if rng.random() < 0.7:
            bar = {name: panel[at] for name, panel in market.panels.items()}
            made.append(stepper.step({**bar, "time": market.times[at]})[None])
        else:
            end = min(to, at + rng.randrange(20))
            pieces = {name: panel[at:end] for name, panel in market.panels.items()}
            made.append(stepper.feed(pieces, market.times[at:end]))
    return np.concatenate(made)


def main() -> None:
    folder, role = Path(sys.argv[1]), sys.argv[2]
    rng = random.Random(role)
    jobs = json.loads((folder / "jobs.json").read_text())
    markets = {name: Market.load(folder / name) for name in {job["market"] for job in jobs}}
    features = [markets[job["market"]].expression(job["text"]) for job in jobs]
    while True:
        for k, feature in enumerate(features):
            state, rows = load(folder, k)
            stepper = feature.stepper()
            stepper.restore(state)
            piece = 1 + rng.randrange(30) if role == "step" else feature.market.n_bars
            to = min(feature.market.n_bars, stepper.n_bars + piece)
            rows = go_on(stepper, feature.market, rows, to, rng)
            save(folder, k, stepper.state(), rows)
            print(k, stepper.n_bars, flush=True)
        if role == "end":
            break
        time.sleep(0.01)  # it never ends by itself
    batch = [hashlib.sha256(feature.values().tobytes()).hexdigest() for feature in features]
    (folder / "batch.json").write_text(json.dumps(batch))


if __name__ == "__main__":
    main()
