"""The programs in the documentation run, and say what they ought to."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = [
    (f"{page}:{number}", code)
    for page in ("README.md", "docs/embedding.md", "docs/runtime.md", "docs/realtime.md", "docs/client.md")
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL), 1)
]
SAYS = {
    "README.md:1": "3\n",
    "docs/embedding.md:1": "members: 1\n",
    "docs/embedding.md:2": "hello ada\n",
    "docs/runtime.md:1": "1000 actors\n",
    "docs/client.md:1": "said {'text': 'hello', 'cover': b'\\x89PNG'} 1\n",
    "docs/realtime.md:1": "somebody said 'hello'\nsomebody said 'is anybody there?'\noffset 2\n",
}


@pytest.mark.parametrize(("name", "code"), PROGRAMS, ids=[name for name, _ in PROGRAMS])
def test_a_program_in_the_documentation_runs(name: str, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout == SAYS[name], done.stderr


def test_every_expected_program_is_there() -> None:
    assert {name for name, _ in PROGRAMS} == set(SAYS)


def test_the_first_example_is_short() -> None:
    code = next(code for name, code in PROGRAMS if name == "README.md:1")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
