"""GET /events: what changes, as it changes, as server-sent events that can be gone on with."""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, Generic, NamedTuple, TypeVar

from aiohttp import web
from pydantic import Field

from convoq.console.endpoints import Asked, Document, Endpoint, NoBody, NoQuery, Site
from convoq.conversations.access import AccessRole, require_valid
from convoq.conversations.changes import Changes, PartState, Place, read_place
from convoq.conversations.ownership import ActRefused
from convoq.conversations.queries import delivery_word
from convoq.errors import DatabaseUnavailable
from convoq.operating.live import Live, Whole
from convoq.text import iso_time

MEDIA_TYPE: Final = "text/event-stream"
NAMES: Final = ("now", "conversation", "message", "job", "process", "reset")
LAST_EVENT_ID: Final = "Last-Event-ID"
REST_SECONDS: Final = 0.5  #: between two frames: what happens within it is merged
RECONNECT_MS: Final = 300
KEPT: Final = 64  #: states that a stream may go on from

_ID: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})\.([0-9a-f]{12})\.([0-9a-f]{12})")
_HEADERS: Final = {
    "Content-Type": f"{MEDIA_TYPE}; charset=utf-8", "X-Accel-Buffering": "no", "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}  # fmt: skip

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")
Parts = Mapping[int, PartState]


class EventData(Document):
    """The `data:` of an event; which of these fields there are, its `event:` says."""

    id: int | str | None = Field(default=None, description="Of the conversation, the message or the job")
    conversation_id: int | None = Field(default=None, description="Of a message")
    direction: str | None = None
    author: str | None = None
    new: bool | None = Field(default=None, description="Whether the message is, or its delivery has changed")
    delivery: str | None = None
    owner: str | None = Field(default=None, description="Of a conversation, as all up to last_message_at")
    owner_name: str | None = None
    owner_version: int | None = None
    status: str | None = None
    last_message_at: str | None = None
    dead: bool | None = Field(default=None, description="Whether the job is a dead letter now, or no more")
    role: str | None = Field(default=None, description="Of a process")
    host: str | None = None
    pid: int | None = None
    state: str | None = Field(default=None, description="seen, gone (killed or crashed), over")
    ok: bool | None = Field(default=None, description="Of the whole, as all that follows: nothing calls for a person")
    problems: int | None = None
    waiting_messages: int | None = None
    waiting_for_a_person: int | None = None
    dead_letters: int | None = None


class Said(NamedTuple):
    name: str
    data: Mapping[str, Any]


class Seen(NamedTuple):
    """What one stream has been told."""

    name: str  #: the id of the last event
    place: Place
    parts: Parts | None  #: None: it is not known any more
    whole: Whole | None


class Kept(Generic[KeyT, ValueT]):
    """The newest states, to go on from."""

    def __init__(self) -> None:
        self._kept: OrderedDict[KeyT, ValueT] = OrderedDict()

    def keep(self, key: KeyT, value: ValueT) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def get(self, key: KeyT) -> ValueT | None:
        return self._kept.get(key)


class Events:
    """Serves streams until each has lasted `longest` seconds; then its program comes back and misses nothing."""

    def __init__(self, site: Site, live: Live, *, longest: float, rest: float = REST_SECONDS) -> None:
        self._site = site
        self._live = live
        self._longest = longest
        self._rest = rest
        self._parts: Kept[str, Parts] = Kept()
        self._wholes: Kept[str, Whole] = Kept()

    async def stream(self, request: web.Request, asked: Asked[NoQuery, NoBody]) -> web.StreamResponse:
        """Ends also when the token is revoked, the listener stops or the database cannot be read."""
        seen = await self._begin(request.headers.get(LAST_EVENT_ID, ""))
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        await response.write(f"retry: {RECONNECT_MS}\n\n".encode())
        with suppress(ConnectionError, TimeoutError, ActRefused, DatabaseUnavailable):
            async with asyncio.timeout(self._longest):
                await self._send(response, seen, asked.token.id)
        return response

    async def _begin(self, given: str) -> Seen | None:
        """None: it has been told nothing yet. Raises DatabaseUnavailable."""
        if not given:
            return None
        found = _ID.fullmatch(given)
        if found is None:
            return Seen("", await self._site.database.read(read_place), None, None)
        place = Place(int(found[1]), int(found[2]), int(found[3]))
        return Seen(given, place, self._parts.get(found[4]), self._wholes.get(found[5]))

    async def _send(self, response: web.StreamResponse, seen: Seen | None, token_id: int) -> None:
        revision = -1
        while not self._live.is_closing:
            await self._site.database.read(require_valid, token_id)
            if revision != (latest := self._live.revision) or seen is None:
                revision = latest
                seen, frame = await self._frame(seen)
                if frame:
                    await response.write(frame)
            await asyncio.sleep(self._rest)
            await self._live.wait(revision, self._longest)

    async def _frame(self, seen: Seen | None) -> tuple[Seen, bytes]:
        """What is new, and the id from which it goes on."""
        place = seen.place if seen is not None else await self._site.database.read(read_place)
        changes, whole = await self._live.look(place)
        digest = _digest(changes.parts)
        self._parts.keep(digest, changes.parts)
        self._wholes.keep(whole.digest, whole)
        said = [Said("now", whole.now)] if seen is None else list(news(seen, changes, whole))
        name = ".".join((*map(str, changes.place), digest, whole.digest))
        lines = [f"event: {one.name}\ndata: {json.dumps(one.data)}\n\n" for one in said]
        # With the last of them: who is cut off between two hears all of them again.
        frame = "".join((*lines[:-1], f"id: {name}\n", lines[-1] if lines else "\n"))
        is_new = seen is None or bool(said) or name != seen.name
        return Seen(name, changes.place, changes.parts, whole), frame.encode() if is_new else b""


def news(seen: Seen, changes: Changes, whole: Whole) -> Iterator[Said]:
    """What happened between the two."""
    if changes.too_many or seen.parts is None or seen.whole is None:
        yield Said("reset", {})
        yield Said("now", whole.now)
        return
    for one in changes.conversations:
        yield Said("conversation", {
            "id": one.id, "owner": str(one.owner), "owner_name": one.owner_name, "owner_version": one.owner_version,
            "status": str(one.status), "last_message_at": iso_time(one.last_message_at),
        })  # fmt: skip
    new = {one.id for one in changes.messages}
    for message in changes.messages:
        yield Said("message", {
            "id": message.id, "conversation_id": message.conversation_id, "direction": message.direction,
            "author": message.author, "new": True,
        })  # fmt: skip
    moved = {
        part.message_id: part for key, part in sorted(changes.parts.items())
        if part.message_id not in new and seen.parts.get(key, part) != part
    }  # fmt: skip
    for message_id, part in moved.items():
        yield Said("message", {
            "id": message_id, "conversation_id": part.conversation_id, "new": False,
            "delivery": delivery_word(part.state, part.delivery),
        })  # fmt: skip
    for job_id in sorted(whole.dead ^ seen.whole.dead, key=int):
        yield Said("job", {"id": job_id, "dead": job_id in whole.dead})
    for role, host, pid, gone in sorted(set(whole.processes) ^ set(seen.whole.processes)):
        state = "seen" if not gone else "gone"
        there = (role, host, pid, gone) in whole.processes
        if there or not any(one[:3] == (role, host, pid) for one in whole.processes):
            yield Said("process", {"role": role, "host": host, "pid": pid, "state": state if there else "over"})
    if whole.now != seen.whole.now:
        yield Said("now", whole.now)


def _digest(parts: Parts) -> str:
    return sha256(repr(sorted(parts.items())).encode()).hexdigest()[:12]


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/events", role=AccessRole.VIEWER, answer=EventData, streams=True,
        summary="What changes, as it changes: server-sent events",
    ),
)  # fmt: skip
