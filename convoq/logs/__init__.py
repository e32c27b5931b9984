"""Events of convoq: `log` writes them, `configure` says how. Neither secrets nor phone numbers come through."""

from convoq.logs.bounded import flush
from convoq.logs.masking import looks_secret
from convoq.logs.setup import configure, log, set_level

__all__ = ["configure", "flush", "log", "looks_secret", "set_level"]
