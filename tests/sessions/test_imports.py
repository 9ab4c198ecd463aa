"""A node never loads numpy or PyAV: they live in its child processes, and so does what a hostile file does to them."""

from __future__ import annotations

import subprocess
import sys


def test_the_node_s_side_of_sessions_is_light() -> None:
    code = (
        "import sys\n"
        "import wsactors.sessions.directory, wsactors.sessions.battle, wsactors.sessions.autoplay\n"
        "import wsactors.sessions.parts, wsactors.dj.cache, wsactors.dj.render_host\n"
        "print(sorted({'numpy', 'scipy', 'av'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
