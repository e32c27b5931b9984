"""What a failed request to a model means: try again, show less, or give up and say what to check."""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelTimeoutError,
    UserError,
)
from pydantic_ai.messages import ModelResponse, TextPart

from convoq.ai.echo import prints_prompt
from convoq.ai.reply import clean
from convoq.ai.transport import CutShort
from convoq.ai.wire.errors import Unreadable, sentence
from convoq.text import first_line

#: Seconds within which no model has written much: a connection that ends by then, before any byte of an answer, had
#: none at work behind it (a proxy whose server is down, a port that is merely published).
AT_ONCE: Final = 1.0

#: Statuses after which the same request may well succeed; every 5xx but 501 is one, too.
RETRYABLE_STATUSES: Final = frozenset({408, 409, 425, 429})

# Local servers name an overflow in their own words, and call input that they cannot read a server error.
_OVERFLOW = re.compile(
    r"context[ _](?:length|window|size|limit)|maximum (?:context|prompt)|exceed_context|(?:prompt|input) is too long"
    r"|too many tokens|request too large|(?:input|prompt).{0,40}exceeds.{0,40}(?:tokens|length|limit)"
    r"|`inputs` tokens.{0,30}must be <=",
    re.IGNORECASE,
)
_NO_TOOLS = re.compile(
    r"\btools?\b.{0,60}\b(?:not supported|unsupported|not available|not allowed)|"
    r"(?:not support|unsupported).{0,60}\b(?:tools?|function[ _]calling)\b|enable-auto-tool-choice",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(r"not supported|unsupported|not implemented", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailure:
    """Why a request gave no usable answer."""

    outcome: str  #: as ModelCall names it
    reason: str  #: for people: what happened and what to check; never a key, never a message
    overflow: bool = False  #: showing the model less may help
    no_tools: bool = False  #: asking without tools may help
    cut_off: bool = False  #: a larger limit on what it may write may help
    retry_after: float | None = None  #: seconds that the provider asked to wait
    unreachable: bool = False  #: the server has said nothing at all
    of_account: bool = False  #: no model is answered with that key; else another one may be
    unheard: bool = False  #: it may have been answered, and be billed, without our having got that

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.useless or self.lost or self.outcome == "retryable"

    @property
    def lost(self) -> bool:
        """Whether a model may have written an answer that did not come."""
        return self.outcome in ("timeout", "disconnected")

    @property
    def useless(self) -> bool:
        """Whether it is an answer, and paid for, but none that can be used."""
        return self.outcome in ("empty", "unusable", "unreadable")

    @property
    def outage(self) -> bool:
        """Whether other requests to this model will probably fail, too, for now."""
        return self.is_for_all or self.lost or self.outcome in ("retryable", "unreadable")

    @property
    def is_for_all(self) -> bool:
        """Whether whatever else is asked will fail, too, until the account or the settings are mended."""
        return self.outcome in ("account", "misconfigured")

    def told_to_others(self, retry_after: float) -> ModelFailure:
        """What keeps others from asking for so many seconds: neither an answer without use nor a wait is theirs."""
        theirs = not (self.useless or self.lost)
        return replace(self, outcome=self.outcome if theirs else "retryable", retry_after=retry_after)


CANCELLED: Final = ModelFailure(
    outcome="cancelled", reason="cancelled", unheard=True
)  #: what came of a request that was cut off


def request_failure(error: Exception, seconds: float = inf) -> ModelFailure:
    """The failure that an exception out of a model's request stands for, so many seconds after it was begun."""
    # Some SDKs wrap it.
    if unreadable := next((cause for cause in _causes(error) if isinstance(cause, Unreadable)), None):
        return ModelFailure(outcome="unreadable", reason=f"its answer cannot be read: {unreadable}", unheard=True)
    match error:
        case TimeoutError() | ModelTimeoutError(phase=None | "write" | "read"):
            return ModelFailure(outcome="timeout", reason="no complete answer in time", unheard=True)
        case ContentFilterError():
            return ModelFailure(outcome="refused", reason="the provider's content filter blocked it")
        case ModelHTTPError():
            return _status_failure(error)
        case ModelContextWindowExceededError():
            return _overflow("the conversation does not fit its context window")
        case ModelConnectionError():
            return _connection_failure(error, seconds)
        case UserError():
            return ModelFailure(outcome="permanent", reason=first_line(error))
        case ModelAPIError():
            reason = "its answer cannot be read"
            return ModelFailure(outcome="unreadable", reason=reason, retry_after=error.retry_after, unheard=True)
    # The SDKs build answers without validation (construct), so one of the wrong shape ends in any exception at all.
    reason = f"its answer has the wrong shape ({type(error).__name__})"
    return ModelFailure(outcome="unreadable", reason=reason, unheard=True)


def _status_failure(error: ModelHTTPError) -> ModelFailure:
    status, body = error.status_code, str(error.body or "")
    said = f"HTTP {status}"
    words = sentence(error.body)
    quoted = words and f" ({words})"
    if isinstance(error, ModelContextWindowExceededError) or status == 413:
        return _overflow(f"{said}: the conversation does not fit its context window")
    if status in (400, 422, 429, 500) and _OVERFLOW.search(body):
        return _overflow(f"{said}: the conversation does not fit its context window")
    if status in (400, 404, 422, 500, 501) and _NO_TOOLS.search(body):
        return replace(_permanent(f"{said}: it takes no tools{quoted}"), no_tools=True)
    if isinstance(error, ModelQuotaExceededError):
        reason = f"{said}: the account's credit or quota is used up{quoted}; top it up at the provider"
        return replace(_account(reason, error), of_account=True)
    if isinstance(error, ModelAuthenticationError):
        failure = _account(f"{said}: the API key is refused{quoted}; check the key and what it may use", error)
        return replace(failure, of_account=status != 403)  # which is also said of a model that a project may not use
    if isinstance(error, ModelNotFoundError):
        advice = "check the model's name and the base_url (most end in /v1)"
        return _misconfigured(f"{said}: no such model there{quoted}; {advice}")
    if status == 501 or (status >= 500 and _UNSUPPORTED.search(body)):
        return _permanent(f"{said}: the server does not support this request{quoted}")
    if status in RETRYABLE_STATUSES or status >= 500:
        reason = f"{said}: {words}" if words else said
        return ModelFailure(outcome="retryable", reason=reason, retry_after=error.retry_after)
    return _permanent(f"{said}: the request is refused{quoted}; check what the model supports")


def _connection_failure(error: ModelConnectionError, seconds: float) -> ModelFailure:
    refusal = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if refusal is not None:
        why = getattr(refusal, "verify_message", "")
        advice = "check the base_url, or name its authority in SSL_CERT_FILE"
        untrusted = _misconfigured(f"its TLS certificate cannot be verified{why and f' ({why})'}; {advice}")
        return replace(untrusted, unreachable=True)
    if error.phase in ("pool", "connect"):
        return ModelFailure(outcome="retryable", reason=f"cannot be reached ({error.phase} failed)", unreachable=True)
    if seconds < AT_ONCE and not any(isinstance(cause, CutShort) for cause in _causes(error)):
        reason = "the connection is closed without an answer"
        return ModelFailure(outcome="retryable", reason=reason, unreachable=True)
    reason = "the connection was lost before its answer was complete"
    return ModelFailure(outcome="disconnected", reason=reason, unreachable=True, unheard=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def response_failure(
    response: ModelResponse, instructions: str, *, is_agents: bool, tools: Collection[str] = ()
) -> ModelFailure | None:
    """Why an answer is no use although the request went well; None when it is one.

    `is_agents`: an agent asked, so it may be a step towards an answer. `tools`: the names of those that were offered.
    """
    if response.finish_reason == "content_filter":
        return ModelFailure(outcome="refused", reason="it refused to answer")
    if is_agents and (response.state == "suspended" or response.files or response.tool_calls):
        return None
    if any(call.tool_name in tools for call in response.tool_calls):
        return None
    if response.state == "suspended":
        return ModelFailure(outcome="unusable", reason="it paused for a tool, and was given none")
    text = clean("".join(part.content for part in response.parts if isinstance(part, TextPart)), tools)
    if prints_prompt(text, instructions):
        return ModelFailure(outcome="unusable", reason="it printed its instructions instead of an answer")
    if text:
        return None
    if response.tool_calls:
        return ModelFailure(outcome="unusable", reason="it called a tool, and was given none")
    if response.finish_reason == "length":
        return ModelFailure(
            outcome="empty",
            reason="it spent all its tokens before it said anything; raise ai.max_output_tokens",
            cut_off=True,
        )
    return ModelFailure(outcome="empty", reason="its answer is empty")


def _overflow(reason: str) -> ModelFailure:
    advice = "lower ai.history_tokens or give the model a larger context"
    return ModelFailure(outcome="permanent", reason=f"{reason}; {advice}", overflow=True)


def _account(reason: str, error: ModelHTTPError) -> ModelFailure:
    """Not the message's fault: the same request succeeds once the account is in order."""
    return ModelFailure(outcome="account", reason=reason, retry_after=error.retry_after)


def _permanent(reason: str) -> ModelFailure:
    return ModelFailure(outcome="permanent", reason=reason)


def _misconfigured(reason: str) -> ModelFailure:
    """Not the message's fault: the same request succeeds once the settings, or the server's, are in order."""
    return ModelFailure(outcome="misconfigured", reason=reason)
