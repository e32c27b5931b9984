"""The list of conversations: grouped by what there is to do, with what is out of order in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from convoq.console.endpoints import Site
from convoq.console.pages import words
from convoq.console.pages.answering import why_nobody
from convoq.console.pages.visitors import Visitor
from convoq.console.paging import place, read_place
from convoq.console.problems import Problem
from convoq.conversations.queries import Reading, Summary
from convoq.conversations.rules import free_text_until
from convoq.conversations.search import ConversationFilter
from convoq.conversations.states import DEAD_ENDS, Outcome, Owner, Status
from convoq.operating.inbox import View, asked_for, seen_as

MOST_OF_A_GROUP: Final = 200
A_PAGE: Final = 50
LATE_MS: Final = 60_000  #: a longer wait stands out
LONGEST_SEARCH: Final = 200
MOST_COUNTED: Final = 100

_TITLES: Final = {
    View.OPEN: "Others", View.MINE: "Yours", View.PERSON: "Waits for a person", View.AI: "Waits for the AI",
    View.FAILED: "Failed", View.CLOSED: "Closed",
}  # fmt: skip
_AUTHORS: Final = {"ai": "AI: ", "system": "convoq: ", "contact": ""}


class ListQuery(NamedTuple):
    """What the address asks for; what cannot be read there is left out."""

    view: View = View.OPEN
    q: str = ""
    number: str = ""
    before: str = ""

    def link(self, path: str = "/inbox", **changes: str) -> str:
        """Its address, without what goes without saying."""
        values = {**self._asdict(), "view": "" if self.view is View.OPEN else str(self.view), "before": "", **changes}
        given = urlencode({name: value for name, value in values.items() if value})
        return f"{path}?{given}" if given else path


class Chip(NamedTuple):
    text: str
    tone: str
    icon: str


class Row(NamedTuple):
    """A conversation in the list."""

    id: int
    name: str
    channel: str
    said: str
    age: str
    at: int
    is_late: bool
    chips: Sequence[Chip]


class Group(NamedTuple):
    title: str
    rows: Sequence[Row]
    more: int = 0  #: that are not shown


class Listing(NamedTuple):
    """The list as a page shows it."""

    query: ListQuery
    groups: Sequence[Group]
    segments: Sequence[tuple[str, str, bool, str]]  #: label, address, whether it is this one, how many
    waits: int  #: people who wait for a person
    older: str  #: the address of the next page; empty: there is none
    refusal: str = ""  #: why nothing was searched for


def read_query(given: Mapping[str, str]) -> ListQuery:
    try:
        view = View(given.get("view", "open"))
    except ValueError:
        view = View.OPEN
    q = " ".join(given.get("q", "").split())[:LONGEST_SEARCH]
    return ListQuery(view, q if q.isprintable() else "", given.get("number", "")[:100], given.get("before", "")[:200])


async def read_listing(site: Site, visitor: Visitor, query: ListQuery) -> Listing:
    reading, refusal = Reading(site.database), ""
    if query.q and not visitor.acts and any(map(str.isdigit, query.q)):
        query, refusal = query._replace(q=""), "A viewer searches for words alone: numbers are masked."
    where = ConversationFilter(our_address=query.number or None)
    where = asked_for(query.q, where) if query.q else where
    waits = await _count(reading, View.PERSON, where, visitor)
    groups: list[Group] = []
    if query.view is View.OPEN and not query.q and not query.before:
        groups = [await _group(site, reading, view, where, visitor) for view in (View.PERSON, View.MINE, View.AI)]
        shown = {row.id for group in groups for row in group.rows}
        rest, older = await _page(site, reading, View.OPEN, where, visitor, query)
        groups.append(rest._replace(rows=[row for row in rest.rows if row.id not in shown]))
    else:
        rest, older = await _page(site, reading, query.view, where, visitor, query)
        groups.append(rest._replace(title=f"Found in {query.view}" if query.q else rest.title))
    segments = await _segments(reading, where, visitor, query, waits)
    return Listing(query, [group for group in groups if group.rows], segments, waits, older, refusal)


async def _segments(
    reading: Reading, where: ConversationFilter, visitor: Visitor, query: ListQuery, waits: int
) -> list[tuple[str, str, bool, str]]:
    mine = await _count(reading, View.MINE, where, visitor)
    failed = await _count(reading, View.FAILED, where, visitor)
    counts = {View.PERSON: _capped(waits), View.MINE: _capped(mine), View.FAILED: _capped(failed)}
    labels = {
        View.OPEN: "Open",
        View.PERSON: "Waiting",
        View.MINE: "Mine",
        View.FAILED: "Failed",
        View.CLOSED: "Closed",
    }
    return [
        (label, query._replace(view=view).link(), view is query.view, counts.get(view, ""))
        for view, label in labels.items()
    ]


def _capped(number: int) -> str:
    return f"{MOST_COUNTED}+" if number > MOST_COUNTED else str(number or "")


async def _count(reading: Reading, view: View, where: ConversationFilter, visitor: Visitor) -> int:
    return await reading.count(seen_as(view, where, visitor.name), most=MOST_COUNTED + 1)


async def _group(site: Site, reading: Reading, view: View, where: ConversationFilter, visitor: Visitor) -> Group:
    """Whole: each row is one to be acted on."""
    seen = seen_as(view, where, visitor.name)
    found = await reading.find(seen, limit=MOST_OF_A_GROUP)
    more = await reading.count(seen, most=10_000) - len(found) if len(found) == MOST_OF_A_GROUP else 0
    return Group(_TITLES[view], [_row(one, site, visitor) for one in found], more)


async def _page(
    site: Site, reading: Reading, view: View, where: ConversationFilter, visitor: Visitor, query: ListQuery
) -> tuple[Group, str]:
    seen = seen_as(view, where, visitor.name)
    try:
        before = read_place(query.before or None, 2)
    except Problem:
        before = None
    start = None if before is None else (before[0], before[1])
    found = await reading.find(seen, limit=A_PAGE + 1, before=start)
    older = query.link(before=place(*found[A_PAGE - 1].place(seen))) if len(found) > A_PAGE else ""
    return Group(_TITLES[view], [_row(one, site, visitor) for one in found[:A_PAGE]]), older


def _row(one: Summary, site: Site, visitor: Visitor) -> Row:
    conversation, now = one.conversation, site.database.clock.now()
    at = one.waiting_since or conversation.last_message_at
    waits = one.waiting_since is not None
    return Row(
        id=conversation.id, name=words.person(conversation.contact.name, conversation.contact.address),
        channel=words.channel(conversation.contact.address), said=_said(one),
        age=words.ago(at, now) if waits else words.moment(at, now), at=at, is_late=waits and now - at > LATE_MS,
        chips=list(_chips(one, site.wall.now(), visitor)),
    )  # fmt: skip


def _said(one: Summary) -> str:
    if one.last is None:
        return ""
    message = one.last.message
    author = _AUTHORS.get(message.author, f"{message.written_by or 'colleague'}: ")
    return author + words.one_line(message.description or message.body)


def _chips(one: Summary, wall_now: int, visitor: Visitor) -> list[Chip]:
    conversation, chips = one.conversation, []
    if conversation.owner is Owner.WAITING and conversation.status is not Status.CLOSED:
        chips.append(Chip("not taken", "warn", "clock"))
    elif conversation.owner is Owner.HUMAN:
        mine = conversation.owner_name == visitor.name
        chips.append(Chip("you" if mine else words.one_line(conversation.owner_name or ""), "brand", "person"))
    elif conversation.owner is Owner.NOBODY:
        chips.append(Chip(why_nobody(conversation).chip, "", "none"))
    if conversation.is_paused:
        chips.append(Chip("AI paused", "warn", "none"))
    if one.last is not None and one.last.delivery in (*DEAD_ENDS, "ambiguous"):
        chips.append(Chip("not delivered" if one.last.delivery in DEAD_ENDS else "delivery unknown", "bad", "warn"))
    if one.last is not None and one.last.message.outcome is Outcome.FAILED:
        chips.append(Chip("no answer", "bad", "warn"))
    until = free_text_until(conversation)
    if until is not None and until <= wall_now and conversation.status is not Status.CLOSED:
        chips.append(Chip("template only", "", "lock"))
    return chips
