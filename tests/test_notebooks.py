"""Every notebook runs from top to bottom in a real kernel, and shows what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
SAYS = {
    "final_values": ["rows accepted", "150.3", "sign was wrong", "unlagged"],
    "idea_to_model": ["rank portfolio", "no look-ahead found", "Sharpe"],
    "first_idea": ["rows accepted", "no look-ahead found", "Probability of overfitting", "out of sample"],
}
LONG = {"first_idea"}  # what it shows, the README's own test and those of each step hold too


def texts(notebook: Any) -> str:
    """Everything the cells printed or showed as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(str(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in outputs)


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=pytest.mark.slow if p.stem in LONG else ()) for p in NOTEBOOKS],
)
@pytest.mark.filterwarnings("default")  # the kernel machinery's own
def test_a_notebook_runs_from_top_to_bottom(path: Path) -> None:
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = texts(notebook)
    for words in SAYS[path.stem]:
        assert words in shown
