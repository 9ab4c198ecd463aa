"""JSON Web Tokens for foreign clients, made with nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

SECRET = "a secret of these tests and of nothing else, 48 bytes"


def token(secret: str = SECRET, seconds: float = 3600, **claims: object) -> str:
    """A token that holds for ``seconds``, signed by HS256."""
    body = {"exp": int(time.time() + seconds), **claims}
    signed = ".".join(_text(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, body))
    return f"{signed}.{_text(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
