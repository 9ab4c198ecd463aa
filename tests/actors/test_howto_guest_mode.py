"""The programs of docs/howto-guest-mode.md run as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "howto-guest-mode.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("program", "says"), list(zip(PROGRAMS, ["in the end 7", "it says hello"], strict=True)))
def test_a_program_of_the_howto_runs(program: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program)
    run = subprocess.run(
        [sys.executable, "-W", "error", tmp_path / "program.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == says
    assert run.stderr == ""
