"""Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body, with a key that both sides have."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from convoq.settings.notify import SECRET_PREFIX


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header webhook-signature. `timestamp` is in seconds."""
    signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"
