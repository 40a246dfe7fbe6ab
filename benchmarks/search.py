"""Search: how near each sampler comes to the optimum, and what a suggestion costs.

Score: 0 is the median best value of random search with the same budget, 1 the optimum. Run with one thread
(``OMP_NUM_THREADS=1``), as ``python -m benchmarks.search --seeds 10``. Optuna takes part where it is installed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from knowable.params import Choice, Float
from knowable.search import Optimizer, Space
from knowable.testing.problems import PROBLEMS, RAGGED, Problem

FIRST_SEED = 2_000  # defaults were chosen on seeds below 200
OURS = ("grid", "parzen", "gp")
LARGE = (1_000, 10_000)
LIMIT_MS = {"100 trials": 10.0, "10,000 trials": 5.0}


def one(problem: Problem, sampler: str, seed: int, n_trials: int, batch: int) -> tuple[float, float]:
    """Best value and CPU milliseconds a suggestion (ask and tell, without the objective)."""
    optimizer = Optimizer(Space(problem.params), seed=seed, sampler=sampler)
    cpu, left = 0.0, n_trials
    while left > 0:
        started = time.process_time()
        trials = optimizer.ask(min(batch, left))
        cpu += time.process_time() - started
        values = [problem.value(trial.params) for trial in trials]
        started = time.process_time()
        for trial, value in zip(trials, values, strict=True):
            optimizer.tell(trial, value)
        cpu += time.process_time() - started
        left -= len(trials)
    assert optimizer.best is not None
    return float(optimizer.best.value or 0.0), 1e3 * cpu / n_trials


def run_optuna(
    problem: Problem, make: Callable[[int], Any], seed: int, n_trials: int, batch: int
) -> tuple[float, float]:
    """The same with an Optuna sampler."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=make(seed))
    study.enqueue_trial(Space(problem.params).default())
    cpu, left = 0.0, n_trials
    while left > 0:
        n = min(batch, left)
        started = time.process_time()
        trials = [study.ask() for _ in range(n)]
        chosen = [{name: _suggest(trial, name, p) for name, p in problem.params.items()} for trial in trials]
        cpu += time.process_time() - started
        values = [problem.value(params) for params in chosen]
        started = time.process_time()
        for trial, value in zip(trials, values, strict=True):
            study.tell(trial, value)
        cpu += time.process_time() - started
        left -= n
    return float(study.best_value), 1e3 * cpu / n_trials


def _suggest(trial: Any, name: str, param: Any) -> Any:
    if isinstance(param, Choice):
        return trial.suggest_categorical(name, param.options)
    if isinstance(param, Float):
        return trial.suggest_float(name, param.low, param.high, log=param.log)
    return trial.suggest_int(name, param.low, param.high, log=param.log)


def peers() -> dict[str, Callable[[int], Any]]:
    """Optuna's samplers, when Optuna is there."""
    try:
        from optuna import samplers
    except ImportError:
        return {}
    return {
        "optuna tpe": lambda seed: samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
        "optuna tpe, default": lambda seed: samplers.TPESampler(seed=seed),
    }


def compare(seeds: int, n_trials: int, batch: int) -> list[dict[str, Any]]:
    """One row a sampler and problem, printed as it comes."""
    rows = []
    for problem in PROBLEMS:
        random = np.median([one(problem, "random", 1_000 + seed, n_trials, batch)[0] for seed in range(100)])
        contestants: dict[str, Callable[..., tuple[float, float]]] = {
            name: partial(one, problem, name, n_trials=n_trials, batch=batch) for name in ("random", *OURS)
        }
        for name, make in peers().items():
            contestants[name] = partial(run_optuna, problem, make, n_trials=n_trials, batch=batch)
        for name, contest in contestants.items():
            outcomes = [contest(seed=FIRST_SEED + seed) for seed in range(seeds)]
            scores = [(random - best) / (random - problem.optimum) for best, _ in outcomes]
            row = {
                "problem": problem.name,
                "sampler": name,
                "mean": round(float(np.mean(scores)), 3),
                "median": round(float(np.median(scores)), 3),
                "error": round(float(np.std(scores) / np.sqrt(seeds)), 3),
                "ms": round(float(np.median([ms for _, ms in outcomes])), 2),
            }
            print(
                "{problem:10s} {sampler:20s} mean {mean:6.3f} +- {error:.3f} median {median:6.3f} {ms:7.2f} ms".format(
                    **row
                )
            )
            rows.append(row)
    return rows


def cost_when_large() -> list[dict[str, Any]]:
    """CPU milliseconds a suggestion once thousands of results are there, asked in batches of 8 and told."""
    rows = []
    for sampler in ("parzen", "auto"):
        for n in LARGE:
            optimizer = Optimizer(Space(RAGGED.params), seed=1, sampler=sampler)
            for trial in optimizer.ask(n):
                optimizer.tell(trial, RAGGED.value(trial.params))
            for trial in optimizer.ask(8):  # catches up with fits a live search has made before
                optimizer.tell(trial, RAGGED.value(trial.params))
            cpu = 0.0
            for _ in range(10):
                started = time.process_time()
                trials = optimizer.ask(8)
                cpu += time.process_time() - started
                for trial in trials:
                    optimizer.tell(trial, RAGGED.value(trial.params))
            rows.append({"sampler": sampler, "n_told": n, "ms": round(1e3 * cpu / 80, 2)})
            print(f"{sampler:10s} {n:6d} results told: {1e3 * cpu / 80:6.2f} ms a suggestion")
    return rows


def run(seeds: int = 6) -> list[dict[str, Any]]:
    """Rows for the common table: the default sampler's score beside each other's, and its cost beside its limit."""
    one(PROBLEMS[0], "gp", 0, 24, 8)  # compiles the kernels before anything is timed
    rows, table = compare(seeds, 100, 8), []
    for problem in PROBLEMS:
        of = {row["sampler"]: row for row in rows if row["problem"] == problem.name}
        table += [
            {
                "case": f"search {problem.name}: score after 100 trials",
                "unit": "score",
                "ours": of["gp"]["mean"],
                "peer_name": name,
                "peer": row["mean"],
                "note": f"+- {of['gp']['error']:.2f} over {seeds} seeds",
            }
            for name, row in of.items()
            if name != "gp"
        ]
        cost = {"case": f"search {problem.name}: CPU a suggestion at 100", "unit": "ms", "ours": of["gp"]["ms"]}
        table.append({**cost, "peer_name": "limit", "peer": LIMIT_MS["100 trials"]})
    for row in cost_when_large():
        if row["sampler"] == "auto":
            cost = {"case": f"search ragged: CPU a suggestion at {row['n_told']}", "unit": "ms", "ours": row["ms"]}
            table.append({**cost, "peer_name": "limit", "peer": LIMIT_MS["10,000 trials"]})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", type=Path, default=None, help="write the rows to this file")
    chosen = parser.parse_args()
    one(PROBLEMS[0], "gp", 0, 24, 8)  # compiles the kernels before anything is timed
    rows = {
        "quality": compare(chosen.seeds, chosen.trials, chosen.batch),
        "large": cost_when_large(),
        "limit_ms": LIMIT_MS,
    }
    if chosen.json is not None:
        if chosen.json.exists():  # ablations are run by hand and kept beside
            rows["ablation"] = json.loads(chosen.json.read_text(encoding="utf-8")).get("ablation", [])
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
