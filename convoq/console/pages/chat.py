"""One conversation: what was said, who answers, and what may be written."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from convoq.console.endpoints import MOST_DIGITS, Site
from convoq.console.pages import words
from convoq.console.pages.answering import composer, known_values, owner_bar
from convoq.console.pages.listing import read_listing, read_query
from convoq.console.pages.rendering import page
from convoq.console.pages.talk import items_of
from convoq.console.pages.visitors import VISITOR, Visitor
from convoq.conversations.marks import read_marks
from convoq.conversations.queries import Reading, Transcript
from convoq.conversations.states import Status
from convoq.conversations.templates import Templates
from convoq.text import counted

A_PAGE: Final = 50  #: messages
MOST_COUNTED: Final = 999

#: What was done, by the word in the address of the page that follows it.
_DONE: Final = {
    "me": "You have it now, and the AI is silent.", "ai": "The AI answers again.",
    "waiting": "It waits for a colleague.", "close": "The conversation is closed.", "reopen": "It goes on.",
    "block": "The person is blocked: nobody answers.", "unblock": "The person is blocked no more.",
    "pause": "The AI is paused here.", "resume": "The AI is not paused here any more.",
}  # fmt: skip


def conversation_id(request: web.Request) -> int:
    """Raises LookupError for what nothing can have."""
    given = request.match_info["id"]
    if len(given) > MOST_DIGITS:
        raise LookupError("there is no such conversation")
    return int(given)


async def show_inbox(site: Site, request: web.Request) -> web.Response:
    marks = await site.database.read(read_marks)  # first: what comes meanwhile is news to the page
    listing = await read_listing(site, request[VISITOR], read_query(request.query))
    return page(
        "inbox.html",
        request[VISITOR],
        {
            "place": "inbox",
            "listing": listing,
            "chat": None,
            "waits": listing.waits,
            "self_path": listing.query.link(),
            "marks": marks,
        },
    )


async def show_chat(
    site: Site, request: web.Request, *, status: int = 200, problem: str = "", confirm: str = "", draft: str = "",
    again: Mapping[str, str] | None = None, number: bool = False,
) -> web.Response:  # fmt: skip
    """The page with its list; `problem` is why what was asked was not done, `confirm` what does it all the same.

    Raises LookupError where there is no such conversation.
    """
    visitor, marks = request[VISITOR], await site.database.read(read_marks)
    before = request.query.get("before", "")
    oldest = int(before) if before.isascii() and before.isdigit() and len(before) <= MOST_DIGITS else None
    transcript = await Reading(site.database).transcript(conversation_id(request), limit=A_PAGE + 1, before=oldest)
    if transcript is None:
        raise LookupError("there is no such conversation")
    listing = await read_listing(site, visitor, read_query(request.query)._replace(before=""))
    chat = await _chat(site, visitor, transcript, oldest=oldest, number=number)
    flash = {
        "problem": problem, "confirm": confirm, "draft": draft, "again": again or {},
        "done": "" if problem else _done(request.query),
    }  # fmt: skip
    own = listing.query.link(f"/inbox/{conversation_id(request)}", before=str(oldest or ""))
    values = {
        "place": "inbox",
        "listing": listing,
        "chat": chat,
        "waits": listing.waits,
        "self_path": own,
        "marks": marks,
        **flash,
    }
    return page("inbox.html", visitor, values, status=status)


async def _chat(
    site: Site, visitor: Visitor, transcript: Transcript, *, oldest: int | None, number: bool
) -> dict[str, Any]:
    conversation = transcript.conversation
    contact = conversation.contact
    summary = await Reading(site.database).summary(conversation.id)
    more = len(transcript.lines) > A_PAGE
    shown = replace(transcript, lines=transcript.lines[-A_PAGE:])
    first = shown.lines[0].message if shown.lines else None
    if more and first is not None:
        # What belongs to the messages before these stays with them.
        shown = replace(
            shown, transitions=tuple(one for one in shown.transitions if one.at >= first.at),
            notes=tuple(one for one in shown.notes if one.at >= first.at),
        )  # fmt: skip
    waits_since = summary.waiting_since if summary is not None else None
    name = words.person(contact.name, contact.address)
    templates = await Templates(site.database, site.wall).all()
    written = composer(conversation, site, templates)
    return {
        "id": conversation.id, "name": name, "channel": words.channel(contact.address),
        "number": contact.address.rpartition(":")[2] if number else words.masked_number(contact.address),
        "has_number": number, "lines": items_of(shown, visitor.name, with_end=oldest is None),
        "older": first.id if more and first is not None else None, "is_newest": oldest is None,
        "owner": owner_bar(conversation, site, visitor.name, waits_since), "composer": written,
        "templates": [(one, known_values(one, words.one_line(contact.name or ""))) for one in written.templates],
        "key": secrets.token_hex(16), "is_closed": conversation.status is Status.CLOSED,
        "facts": _facts(site, transcript), "is_blocked": contact.blocked_at is not None,
        "is_paused": conversation.is_paused, "previous": transcript.previous_id,
    }  # fmt: skip


def _facts(site: Site, transcript: Transcript) -> list[tuple[str, str]]:
    conversation, now = transcript.conversation, site.database.clock.now()
    contact = conversation.contact
    closed = f"closed ({conversation.closed_reason})" if conversation.closed_reason else ""
    found = [
        ("Over", words.masked_number(conversation.our_address)),
        ("Opened", words.moment(conversation.opened_at, now)),
        ("Messages", str(transcript.messages)),
        ("Status", closed or str(conversation.status)),
    ]
    if contact.opted_out_at is not None:
        found.append(("Opted out", words.moment(contact.opted_out_at, now)))
    if contact.blocked_at is not None:
        found.append(("Blocked", words.moment(contact.blocked_at, now)))
    return found


def _done(query: Mapping[str, str]) -> str:
    """Only what is written here, whatever the address says."""
    sentences = [_DONE.get(query.get("did", ""), "")]
    for name, noun, rest in (
        ("unsent", "part", "of the AI's answer now never goes out."),
        ("way", "part", "of it was on its way and may have arrived."),
        ("returned", "message", "waits for the AI again."),
    ):
        given = query.get(name, "")
        if sentences[0] and given.isascii() and given.isdigit() and 0 < int(given[:9]) <= MOST_COUNTED:
            sentences.append(f"{counted(int(given[:9]), noun)} {rest}")
    return " ".join(sentences).strip()
