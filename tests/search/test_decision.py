"""The figures on the decision page are those of the results file."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "benchmarks/results/search.json").read_text(encoding="utf-8"))
PROBLEMS = ("hartmann6", "levy8", "ragged", "mixed")
AIMS = {"hartmann6": 0.85, "levy8": 0.8, "ragged": 0.3, "mixed": 0.4}


def cells() -> list[list[str]]:
    page = (ROOT / "docs/decisions/optimizer.md").read_text(encoding="utf-8")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]


def test_the_table_of_samplers_is_the_results_file():
    found = {(row["problem"], row["sampler"]): row for row in RESULTS["quality"]}
    for sampler in ("grid", "parzen", "gp"):
        shown = next(line for line in cells() if line[0] == sampler)
        rows = [found[problem, sampler] for problem in PROBLEMS]
        assert shown[1:5] == [f"{row['mean']:.3f} ± {row['error']:.3f}" for row in rows]
        assert shown[5] == f"{max(row['ms'] for row in rows):.2f}"


def test_the_process_reaches_the_aims_of_the_design_within_their_cost():
    for row in RESULTS["quality"]:
        if row["sampler"] == "gp":
            assert row["mean"] >= AIMS[row["problem"]]
            assert row["ms"] <= RESULTS["limit_ms"]["100 trials"]
    for row in RESULTS["large"]:
        if row["n_told"] == 10_000:
            assert row["ms"] <= RESULTS["limit_ms"]["10,000 trials"]


def test_the_table_of_costs_is_the_results_file():
    for row in RESULTS["large"]:
        assert [row["sampler"], str(row["n_told"]), f"{row['ms']:.2f}"] in cells()


def test_the_table_of_ablations_is_the_results_file():
    for row in RESULTS["ablation"]:
        shown = next(line for line in cells() if line[0] == row["variant"])
        assert shown[1:3] == [row["seeds"], str(row["n_trials"])]
        for cell, name in zip(shown[3:6], ("levy8", "ragged", "mixed"), strict=True):
            assert cell == (f"{row[name]:.3f}" if name in row else "–")
