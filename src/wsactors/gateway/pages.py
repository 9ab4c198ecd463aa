"""The files of the page, read once: a request can only name one of them, never a path."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable

import attrs

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

_SHORT = {"/": "/index.html", "/stage": "/stage.html"}


@attrs.frozen
class Page:
    """One file that the gateway serves."""

    body: bytes = attrs.field(repr=False)
    content_type: str
    etag: str


def load_pages() -> Mapping[str, Page]:
    """Every file under ``wsactors/web`` by its URL path; ``/`` is ``index.html``, ``/stage`` is ``stage.html``."""
    pages: dict[str, Page] = {}
    _collect(resources.files("wsactors") / "web", "/", pages)
    for short, name in _SHORT.items():
        if name in pages:
            pages[short] = pages[name]
    return pages


def _collect(folder: Traversable, prefix: str, pages: dict[str, Page]) -> None:
    for entry in folder.iterdir():
        ending = entry.name[entry.name.rfind(".") :]
        if entry.is_dir():
            _collect(entry, f"{prefix}{entry.name}/", pages)
        elif ending in _TYPES:
            body = entry.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            pages[prefix + entry.name] = Page(body, _TYPES[ending], etag)
