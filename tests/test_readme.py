"""The README tells the truth: its example runs and prints what it says, and it is short."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_example_prints_what_the_readme_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data-samples").symlink_to(ROOT / "data-samples")
    code = [body for kind, body in BLOCKS if kind == "python"]
    shown = next(body for kind, body in BLOCKS if kind == "text")
    printed = io.StringIO()
    names: dict[str, object] = {"__name__": "readme"}
    with contextlib.redirect_stdout(printed):
        for block in code:
            exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - the point of the test
    assert printed.getvalue().strip() == shown.strip()
    assert (tmp_path / "run.html").stat().st_size > 100_000
    assert names["then"].num_rows > 0  # type: ignore[attr-defined]


def test_the_readme_is_short() -> None:
    assert len(TEXT.split()) <= 600


def test_every_path_and_make_target_it_names_exists() -> None:
    for path in (
        "data-samples",
        "notebooks/first_idea.py",
        "docs/bring-your-own-data.md",
        "docs/two-times.md",
        "docs/decisions",
    ):
        assert (ROOT / path).exists()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make (\w+)", TEXT):
        if target != "and":
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
