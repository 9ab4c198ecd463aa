"""What clients said that played several scenarios at once."""

from __future__ import annotations

from collections.abc import Iterable

from tests.interop.children import Line


class Scenarios:
    """The lines of each scenario.

    Args:
        lines: Everything that was said, each with the ``scenario`` it belongs to.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines: dict[str, list[Line]] = {}
        for line in lines:
            self._lines.setdefault(line["scenario"], []).append(line)

    def __call__(self, name: str) -> list[Line]:
        """What was said in one that did not fail."""
        lines = [{key: value for key, value in line.items() if key != "scenario"} for line in self._lines[name]]
        failed = [line["failed"] for line in lines if "failed" in line]
        assert not failed, f"{name} failed after {lines[:-1]}:\n{failed[0]}"
        return lines
