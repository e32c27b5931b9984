"""The settings of processes that must reach the loopback Twilio and never the real one."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Final

from convoq.loopback.twilio import LoopbackTwilio
from convoq.settings.schema import ENV_PREFIX, env_name

# What a service manager tells one process: a child must not take it for its own.
_PER_PROCESS: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)


@dataclass(frozen=True, slots=True)
class Account:
    """A Twilio account made up for one run. Every credential is set, so that none of a real account is left over."""

    sid: str = field(default_factory=lambda: "AC" + secrets.token_hex(16))
    auth_token: str = field(default_factory=lambda: secrets.token_hex(16))
    key_sid: str = field(default_factory=lambda: "SK" + secrets.token_hex(16))
    key_secret: str = field(default_factory=lambda: secrets.token_hex(16))

    def twilio(self) -> LoopbackTwilio:
        """A loopback Twilio that knows this account, not yet started."""
        return LoopbackTwilio(
            account_sid=self.sid, auth_token=self.auth_token, api_keys={self.key_sid: self.key_secret}
        )

    def settings(self, api_base_url: str) -> dict[str, str]:
        return {
            "twilio.account_sid": self.sid,
            "twilio.auth_token": self.auth_token,
            "twilio.auth_tokens": "[]",
            "twilio.api_key_sid": self.key_sid,
            "twilio.api_key_secret": self.key_secret,
            "twilio.api_base_url": api_base_url,
        }


def environment(base: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """`base` with these settings (named like "server.port") on top of its own."""
    kept = {name: value for name, value in base.items() if name not in _PER_PROCESS}
    return kept | {env_name(tuple(name.split("."))): value for name, value in settings.items()}


def without_settings(base: Mapping[str, str]) -> dict[str, str]:
    """`base` without anything that configures convoq."""
    return {
        name: value
        for name, value in base.items()
        if not name.startswith(ENV_PREFIX) and name != "CREDENTIALS_DIRECTORY"
    }


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now; another program may be given it before a listener is there (see reserved_port)."""
    with reserved_port(host) as port:
        return port


@contextmanager
def reserved_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that is ours meanwhile: the public URL must be known before the listener is there, so it can't be asked.

    A port that a socket is bound to is given to none that asks for any port. It is never listened on: naming it a
    process may listen there, as both have SO_REUSEADDR (asyncio's default).
    """
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, 0))
        yield int(holder.getsockname()[1])
