"""Now: what calls for a person, in the words of `convoq status --exit-code`, and who waits."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from aiohttp import web

from convoq.channels.twilio.errors import hint
from convoq.console.endpoints import Site
from convoq.console.pages import words
from convoq.console.pages.acting import act
from convoq.console.pages.answering import REASONS
from convoq.console.pages.causes import read_causes
from convoq.console.pages.gate import FORM_FIELDS
from convoq.console.pages.refusals import PageRefused
from convoq.console.pages.rendering import page
from convoq.console.pages.visitors import VISITOR
from convoq.conversations.acts import Acts
from convoq.conversations.marks import read_marks
from convoq.conversations.pausing import EVERYWHERE, list_pauses, number_scope
from convoq.conversations.queries import Reading, Summary
from convoq.conversations.search import ConversationFilter
from convoq.monitoring.processes import ProcessRecord
from convoq.monitoring.roles import SILENT_AFTER_SECONDS
from convoq.monitoring.snapshot import Alert, AlertLimits, Snapshot
from convoq.operating.inbox import View, seen_as
from convoq.operating.numbers import our_numbers
from convoq.operating.overview import read_state
from convoq.text import age, counted, size

SHOWN: Final = 20  #: people who wait
MOST_COUNTED: Final = 1000
MOST_CAUSES: Final = 8

_ROLES: Final = {"serve": "No webhook server runs", "schedule": "No scheduler runs", "work": "No worker runs"}


class Verdict(NamedTuple):
    """One sentence; good exactly where nothing calls for a person."""

    tone: str  #: good, warn, bad
    sentence: str
    beside: str


class Waiting(NamedTuple):
    """A conversation with owner `waiting`."""

    id: int
    name: str
    channel: str
    said: str
    why: str
    wait: str


class Cause(NamedTuple):
    """What went wrong, as often as it did, with what can be done."""

    number: int
    title: str
    detail: str
    remedy: str


class Figure(NamedTuple):
    title: str
    big: str
    small: str
    more: str


class Number(NamedTuple):
    """Where the AI answers, or is paused."""

    scope: str
    name: str
    paused: str


class Process(NamedTuple):
    role: str
    tone: str
    status: str
    up: str


async def show_now(site: Site, request: web.Request) -> web.Response:
    visitor, marks = request[VISITOR], await site.database.read(read_marks)
    snapshot, alerts = await read_state(site.database, site.jobs, site.options, AlertLimits())
    reading = Reading(site.database)
    where = seen_as(View.PERSON, ConversationFilter(), visitor.name)
    waits, found = await reading.count(where, most=MOST_COUNTED), await reading.find(where, limit=SHOWN)
    values = {
        "place": "now", "waits": waits, "marks": marks, "self_path": "/", "alerts": alerts,
        "verdict": verdict(snapshot, alerts, waits), "figures": _figures(snapshot, waits, _longest(snapshot, found)),
        "waiting": [_waiting(one, snapshot.now) for one in found], "more": max(0, waits - len(found)),
        "causes": await _causes(site, snapshot), "processes": _processes(snapshot),
        "facts": _facts(snapshot), "key": secrets.token_hex(16), "numbers": await _numbers(site, snapshot.now),
    }  # fmt: skip
    return page("now.html", visitor, values)


async def pause(site: Site, request: web.Request) -> web.Response:
    """The AI at one of our numbers, or everywhere; or, with `to`, no more."""
    form, visitor = request[FORM_FIELDS], request[VISITOR]
    scope, ends = form.get("scope", ""), form.get("to") == "resume"
    known = {EVERYWHERE, *(number_scope(one.address) for one in await our_numbers(site.database, site.options))}
    if scope not in known:
        raise PageRefused(404, "That is no number of yours.")

    async def work(acts: Acts) -> None:
        await (acts.resume(scope) if ends else acts.pause(scope))

    await act(site, visitor, None, "pause", form, work, lambda _: {})
    return web.Response(status=303, headers={"Location": "/"})


async def _numbers(site: Site, now: int) -> list[Number]:
    """All of them first, then each."""
    pauses = {one.scope: one for one in await site.database.read(list_pauses)}
    ours = [one.address for one in await our_numbers(site.database, site.options)]
    named = [(number_scope(address), f"{words.channel(address)} {words.masked_number(address)}") for address in ours]
    scopes = [(EVERYWHERE, "All numbers"), *named]
    return [
        Number(
            scope, name, f"paused by {words.one_line(found.who)}, {words.moment(found.paused_at, now)}" if found else ""
        )
        for scope, name in scopes
        for found in [pauses.get(scope)]
    ]


def verdict(snapshot: Snapshot, alerts: Sequence[Alert], waits: int) -> Verdict:
    """From the alerts that let `convoq status --exit-code` end with 1, and from who waits for a person."""
    missing = [alert for alert in alerts if alert.role is not None]
    others = [alert for alert in alerts if alert.role is None]
    people = f"{counted(waits, 'person waits', 'people wait')} for a person" if waits else ""
    held = f"{counted(snapshot.waiting, 'message waits', 'messages wait')} for the AI" if snapshot.waiting else ""
    waiting = " and ".join(filter(None, (people, held)))
    if missing:
        role = missing[0].role or ""
        return Verdict("bad", _ROLES.get(role, f"{role} does not run"), waiting or "Nobody waits just now.")
    if others:
        return Verdict("bad", _sentence(others[0].detail), waiting or "Nobody waits just now.")
    if waiting:
        return Verdict("warn", _sentence(waiting), "Everything else is well.")
    return Verdict("good", "Nobody waits", "Everything is well.")


def _sentence(text: str) -> str:
    return words.one_line(f"{text[:1].upper()}{text[1:]}")


def _longest(snapshot: Snapshot, found: Sequence[Summary]) -> float:
    """Seconds of the longest wait, whatever it is for; `found`: the longest first."""
    since = [at for one in found[:1] for at in (one.waiting_since, one.conversation.owner_since) if at is not None]
    return max(snapshot.longest_waiting, (snapshot.now - since[0]) / 1000 if since else 0.0)


def _figures(snapshot: Snapshot, waits: int, longest: float) -> list[Figure]:
    overview, times = snapshot.overview, snapshot.overview.reply_times
    replies = ("none yet", "", "") if not times else (
        age(snapshot.reply_median), "half of them", f"95 % in {age(snapshot.reply_p95)}, of the newest {len(times)}",
    )  # fmt: skip
    oldest = f"oldest {words.span(longest)}" if waits + snapshot.waiting else ""
    lost = overview.failed + overview.undelivered
    owners, who = overview.owners, f"{waits} for a person, {snapshot.waiting} for the AI"
    return [
        Figure("Waiting now", str(waits + snapshot.waiting), oldest, who),
        Figure("Answered in", *replies),
        Figure("Open conversations", str(sum(owners.values())), "", f"{owners.get('human', 0)} with a colleague"),
        Figure("Did not arrive", str(lost), "in 24 hours", f"{snapshot.dead} dead letters" if snapshot.dead else ""),
    ]  # fmt: skip


def _waiting(one: Summary, now: int) -> Waiting:
    conversation = one.conversation
    contact = conversation.contact
    since = one.waiting_since or conversation.owner_since or conversation.last_message_at
    said = one.last.message.description or one.last.message.body if one.last is not None else ""
    return Waiting(
        id=conversation.id, name=words.person(contact.name, contact.address), channel=words.channel(contact.address),
        said=words.one_line(said), why=REASONS.get(conversation.handed_reason or "", ""), wait=words.ago(since, now),
    )  # fmt: skip


async def _causes(site: Site, snapshot: Snapshot) -> list[Cause]:
    kept = "Mend the key or the account: what waits is kept and tried again."
    found = [
        Cause(1, f"{words.one_line(one.model)} refuses whatever it is asked", words.one_line(one.error or ""), kept)
        for one in snapshot.overview.refusals
    ]
    dead = await read_causes(site) if snapshot.dead else []
    found += [Cause(len(one.jobs), one.title, one.error, "Retry or look at them under Jobs.") for one in dead]
    by_code = snapshot.overview.undelivered_by_code
    found += [Cause(parts, f"Not delivered: code {code}", "", hint(code)) for code, parts in by_code]
    return sorted(found, key=lambda cause: -cause.number)[:MOST_CAUSES]


def _processes(snapshot: Snapshot) -> list[Process]:
    return [
        Process(
            role=one.role, tone=_tone(one, snapshot.now),
            status=words.one_line("gone" if one.gone else one.status or ""),
            up=f"up {words.span((snapshot.now - one.started_at) / 1000)}",
        )
        for one in snapshot.processes
    ]  # fmt: skip


def _tone(process: ProcessRecord, now: int) -> str:
    if process.gone:
        return "bad"
    return "warn" if process.silence(now) > SILENT_AFTER_SECONDS else ""


def _facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    kinds = snapshot.stats.kinds.values()
    queue = ", ".join(
        f"{sum(getattr(kind, state) for kind in kinds)} {name}"
        for state, name in (("ready", "ready"), ("running", "running"), ("scheduled", "later"))
    )
    log = f", log {size(snapshot.log.bytes)}" if snapshot.log is not None else ""
    return [
        ("Queue", queue),
        ("Database", f"{size(snapshot.database_bytes)}{log}"),
        ("Disk", "has room" if snapshot.accepts else "nearly full"),
    ]
