"""The keeper of a stage's table: who is there, as what, with which hand up. It does nothing, so that it does not fail.

The session writes every change there; one that was started again finds its people as they were. When the keeper dies
instead, the table with it, the session writes everything into the next one's.
"""

from __future__ import annotations

from typing import Any

from wsactors.actors import UNHANDLED, Actor
from wsactors.sessions.stage_messages import KeeperUp
from wsactors.sessions.stage_options import StageOptions


class Keeper(Actor):
    """Owns the table ``options.part("table")``: rows of a key (kind, number or text) and a value."""

    def init(self, stage: StageOptions = StageOptions()) -> None:  # noqa: B008 - frozen
        self.node.tables.new(stage.part("table"), access="public")
        self.node.cast(stage.part("session"), KeeperUp())

    def handle_info(self, message: Any) -> Any:
        return UNHANDLED
