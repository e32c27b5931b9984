"""Conversations: lists of them, and what was said and changed in one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from pydantic import AwareDatetime, Field

from convoq.console.conversation_models import (
    ConversationInFull,
    Conversations,
    Messages,
    Transitions,
)
from convoq.console.endpoints import Answer, Asked, Endpoint, NoBody, NoQuery, Page, Site, not_found
from convoq.console.paging import page, place, read_place
from convoq.console.problems import Problem, invalid
from convoq.conversations.access import AccessRole, AccessToken
from convoq.conversations.queries import Reading, Transcript
from convoq.conversations.search import ConversationFilter
from convoq.conversations.states import Owner, Status
from convoq.monitoring.documents import conversations_document, transcript_document
from convoq.monitoring.transcripts import unanswered_jobs
from convoq.operating.inbox import View, asked_for, seen_as

MOST_COUNTED: Final = 10_000


class ConversationQuery(Page):
    view: Literal["open", "mine", "person", "ai", "failed", "closed"] | None = Field(
        default=None, description="What you come for; in person and ai who has waited longest comes first"
    )
    q: str | None = Field(
        default=None, min_length=1, max_length=200,
        description="With these words in a message or the person's name, or this number; of viewers without digits",
    )  # fmt: skip
    number: str | None = Field(default=None, min_length=1, max_length=100, description="Over this number of ours")
    status: tuple[Literal["active", "idle", "closed"], ...] = Field(default=(), description="With one of these")
    owner: tuple[Literal["ai", "waiting", "human", "nobody"], ...] = Field(default=(), description="Answered by")
    address: str | None = Field(
        default=None, min_length=1, max_length=100, description="With this in the person's address; not for viewers"
    )
    text: str | None = Field(
        default=None, min_length=1, max_length=200, description="With this in a message; of viewers without digits"
    )
    since: AwareDatetime | None = Field(default=None, description="With a message then or later")
    waiting: bool = Field(default=False, description="With a message that waits for its answer")
    failed: bool = Field(default=False, description="With a message or reply that failed")
    count: bool = Field(default=False, description="Also say how many there are")


async def list_conversations(site: Site, asked: Asked[ConversationQuery, NoBody]) -> Answer:
    query = asked.query
    require_masked_search(asked.token, query)
    before = read_place(query.before, 2)
    where = _filter(query, asked.token.operator)
    reading = Reading(site.database)
    start = None if before is None else (before[0], before[1])
    found = await reading.find(where, limit=query.limit + 1, before=start)
    shown, more = found[: query.limit], len(found) > query.limit
    document = page(
        conversations_document(shown, more=more, full=True), place(*shown[-1].place(where)) if more else None
    )
    if query.count:
        number = await reading.count(where, most=MOST_COUNTED + 1)
        document["count"] = {"count": min(number, MOST_COUNTED), "capped": number > MOST_COUNTED}
    return Answer(document)


def _filter(query: ConversationQuery, operator: str) -> ConversationFilter:
    """Raises Problem."""
    if query.q is not None and (query.text is not None or query.address is not None):
        raise invalid("q", "goes alone: text and address look in one place each")
    where = ConversationFilter(
        statuses=tuple(map(Status, query.status)) or None,
        owners=tuple(map(Owner, query.owner)) or None,
        our_address=query.number,
        address=query.address,
        text=query.text,
        since=None if query.since is None else round(query.since.timestamp() * 1000),
        waiting=query.waiting,
        failed=query.failed,
    )
    where = where if query.q is None else asked_for(query.q, where)
    return where if query.view is None else seen_as(View(query.view), where, operator)


def require_masked_search(token: AccessToken, query: ConversationQuery) -> None:
    """Who may not see a number cannot find it out digit by digit either. Raises Problem."""
    words = f"{query.text or ''}{query.q or ''}"
    if token.role is AccessRole.VIEWER and (query.address is not None or any(map(str.isdigit, words))):
        raise Problem("role", "a viewer searches for words alone: numbers are masked")


async def get_conversation(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    transcript = await _read(site, asked.id_of("conversation"))
    document = transcript_document(transcript, {})
    shown = {name: document[name] for name in ("conversation", "previous_id", "message_count", "notes")}
    return Answer(shown, {"ETag": f'"{transcript.conversation.owner_version}"'})


async def list_messages(site: Site, asked: Asked[Page, NoBody]) -> Answer:
    before, limit = read_place(asked.query.before, 1), asked.query.limit
    transcript = await _read(site, asked.id_of("conversation"), limit + 1, before[0] if before else None)
    more = len(transcript.lines) > limit
    transcript = replace(transcript, lines=transcript.lines[-limit:])
    document = transcript_document(transcript, await unanswered_jobs(transcript, site.jobs))
    first = transcript.lines[0].message.id if transcript.lines else 0
    beside = {name: [one for one in document[name] if one["through"] >= first] for name in ("drafts", "model_calls")}
    return Answer(page({"messages": document["messages"], **beside}, place(first) if more else None))


async def list_transitions(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    transcript = await _read(site, asked.id_of("conversation"))
    return Answer({"transitions": transcript_document(transcript, {})["transitions"]})


async def _read(site: Site, conversation_id: int, limit: int = 0, before: int | None = None) -> Transcript:
    """Without a limit no message, but all changes and notes. Raises Problem."""
    transcript = await Reading(site.database).transcript(conversation_id, limit=limit, before=before)
    if transcript is None:
        raise not_found("conversation")
    return transcript


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/conversations", role=AccessRole.VIEWER, handle=list_conversations, answer=Conversations,
        query=ConversationQuery, summary="Conversations, latest activity first", problems=("role",),
    ),
    Endpoint(
        method="GET", path="/conversations/{id}", role=AccessRole.VIEWER, handle=get_conversation,
        answer=ConversationInFull, summary="One, with its notes; the `ETag` is for `If-Match`",
    ),
    Endpoint(
        method="GET", path="/conversations/{id}/messages", role=AccessRole.VIEWER, handle=list_messages,
        answer=Messages, query=Page, summary="What was said, a page from the newest on, oldest first",
    ),
    Endpoint(
        method="GET", path="/conversations/{id}/transitions", role=AccessRole.VIEWER, handle=list_transitions,
        answer=Transitions, summary="Who answered, from when on, and why",
    ),
)  # fmt: skip
