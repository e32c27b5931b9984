"""Events of convoq: `log` writes them, `configure` says how. Neither secrets nor phone numbers come through."""

from convoq.logs.masking import looks_secret
from convoq.logs.setup import configure, log

__all__ = ["configure", "log", "looks_secret"]
