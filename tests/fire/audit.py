"""The audit: what was sent and acknowledged, what the loopback Twilio holds and what the database says must agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from convoq.ai.offline import NOTICE
from convoq.conversations.choosing import OVERTAKEN_AT
from convoq.loopback.messages import TwilioMessage as Reply
from tests.fire.crowd import Crowd, Message
from tests.fire.logbook import read_logs
from tests.fire.peers import TOKEN
from tests.fire.report import Section
from tests.fire.site import Site


class Forgotten(NamedTuple):
    """What a restored backup can't know, by its nature; it is left out of the audit."""

    tokens: Collection[str] = ()  #: of messages that it does not hold, or may hold as unanswered although they were not
    sids: Collection[str] = ()  #: of replies that were sent after it was made


NOTHING = Forgotten()
SHOWN = 5  # problems of one kind that are spelled out


RECORDED = "SELECT source FROM messages WHERE author = 'contact'"
# May find none once everything has come to its end.
UNANSWERED = "SELECT id, outcome FROM messages WHERE direction = 'in' AND coalesce(outcome, '') <> 'answered'"


async def settle(
    site: Site,
    crowd: Crowd,
    section: Section,
    *,
    explained: Mapping[str, str] | None = None,
    revived: Collection[str] = (),
    forgotten: Forgotten = NOTHING,
) -> None:
    """Drains the site and audits everything it did; what does not balance becomes the section's problems.

    `explained` are the events above warning that this scenario must cause, and the reason; `revived` the tokens of
    messages that were buried and brought back, which later ones may have overtaken; `forgotten` what a restore has
    taken back.
    """
    codes = await site.drain()
    section.expect(set(codes) == {0}, f"exit codes after SIGTERM: {codes}")
    section.problems += site.unmet
    messages = [message for message in crowd.messages if message.token not in forgotten.tokens]
    found = by_token(site.twilio.messages)
    answers = {token: places for token, places in found.items() if token not in forgotten.tokens}
    audit_acceptance(crowd, section)
    _audit_answers(site, messages, answers, section)
    aside = overtaken(site) | set(revived)
    in_order = {token: places for token, places in answers.items() if token not in aside}
    _audit_order(site, messages, in_order, section)
    _audit_outbox(site, section, forgotten.sids)
    _audit_database(site, crowd, section)
    read_logs(site, section, explained or {})


def overtaken(site: Site) -> set[str]:
    """The tokens of messages whose turns failed twice: what came later goes first."""
    found = site.rows("SELECT body FROM messages WHERE direction = 'in' AND failures >= ?", OVERTAKEN_AT)
    return {token for (body,) in found for token in TOKEN.findall(body)}


def by_token(replies: Iterable[Reply]) -> dict[str, list[tuple[int, Reply]]]:
    """Where each token was sent, with its place in the order of sending."""
    found: dict[str, list[tuple[int, Reply]]] = defaultdict(list)
    place = 0
    for reply in replies:
        for token in TOKEN.findall(reply.body):
            found[token].append((place, reply))
            place += 1
    return found


def audit_acceptance(crowd: Crowd, section: Section) -> None:
    tries = [one for message in crowd.messages for one in message.tries]
    section.count("messages written", len(crowd.messages))
    section.count("webhooks posted", len(tries))
    section.count("messages accepted (2xx)", sum(message.accepted is not None for message in crowd.messages))
    section.count("given up by Twilio at the door", sum(message.accepted is None for message in crowd.messages))
    section.count("answered 503", sum(one.status == 503 for one in tries))
    odd = {one.status for one in tries} - {200, 503, None}
    section.expect(not odd, f"valid webhooks were answered {sorted(map(str, odd))}")


def _audit_answers(
    site: Site, messages: Sequence[Message], answers: Mapping[str, list[tuple[int, Reply]]], section: Section
) -> None:
    accepted = [message for message in messages if message.accepted is not None]
    lost = [message for message in accepted if not answers.get(message.token)]
    doubled = [message for message in messages if len(answers.get(message.token, ())) > 1]
    section.count("replies at Twilio", len(site.twilio.messages))
    section.count("messages answered", sum(message.token in answers for message in accepted))
    section.count("lost", len(lost))
    section.count("doubled", len(doubled))
    each(section, [f"accepted and never answered: {_about(site, message)}" for message in lost])
    each(section, [f"answered more than once: {_about(site, message)}" for message in doubled])
    people = {message.token: message.person for message in messages}
    each(section, [
        f"{reply.sid} says {token} to somebody else"
        for token, places in answers.items() for _, reply in places
        if people.get(token) != reply.to
    ])  # fmt: skip
    # What a person hears who gets no answer for now is none, and stands for no message.
    notices = {body for (body,) in site.rows("SELECT body FROM messages WHERE source LIKE 'notice:%'")} | {NOTICE}
    each(section, [f"{reply.sid} says nothing that proves what it answers" for reply in site.twilio.messages
                    if not TOKEN.search(reply.body) and not any(body in reply.body for body in notices)])  # fmt: skip
    for message in accepted:
        if message.accepted is not None and (places := answers.get(message.token)):
            section.time("from 2xx to the reply", site.twilio.taken_at[places[0][1].sid] - message.accepted)


def _audit_order(
    site: Site, messages: Sequence[Message], answers: Mapping[str, list[tuple[int, Reply]]], section: Section
) -> None:
    """Nobody's message is answered before one that had been acknowledged when it was written."""
    by_person: dict[str, list[tuple[int, Message]]] = defaultdict(list)
    for message in messages:
        if places := answers.get(message.token):
            by_person[message.person].append((places[0][0], message))
    for answered in by_person.values():
        earliest = float("inf")
        for _, message in sorted(answered, key=lambda pair: pair[0], reverse=True):
            if earliest <= message.written:
                section.problems.append(f"answered out of order: {_about(site, message)}")
            earliest = min(earliest, message.accepted or earliest)
    _audit_lane_order(site, answers, section)


def _audit_lane_order(site: Site, answers: Mapping[str, list[tuple[int, Reply]]], section: Section) -> None:
    """Each lane's messages are answered in the order of its jobs."""
    last: dict[str, int] = defaultdict(lambda: -1)
    for lane, payload in site.engine.queue.received():
        token = TOKEN.search(payload)
        if token and (places := answers.get(token[0])):
            section.expect(places[0][0] > last[lane], f"{token[0]} was answered before an earlier job of its lane")
            last[lane] = places[0][0]


def _audit_outbox(site: Site, section: Section, forgotten: Collection[str]) -> None:
    """Every reply at Twilio is one row of the outbox and every sent row one reply."""
    held = {reply.sid for reply in site.twilio.messages}
    rows = site.rows("SELECT provider_id, state, reconciled, attempts FROM outbox")
    known = {row[0] for row in rows if row[0] is not None}
    section.count("sends of unknown outcome, found at Twilio", sum(row[2] for row in rows))
    section.count("sends that were tried again", sum(row[3] > 1 for row in rows))
    section.count("left ambiguous", sum(row[1] == "ambiguous" for row in rows))
    each(section, [f"Twilio holds {sid}, which no outbox row knows" for sid in held - known - set(forgotten)])
    each(section, [f"the outbox knows {sid}, which Twilio does not" for sid in known - held])
    each(section, [f"an outbox row is {row[1]}" for row in rows if row[1] != "sent"])


def _audit_database(site: Site, crowd: Crowd, section: Section) -> None:
    audit_soundness(site, section)
    each(section, [f"no answer: {row}" for row in site.rows(UNANSWERED)])
    written = {message.sid for message in crowd.messages}
    recorded = {source.rpartition(":")[2] for (source,) in site.rows(RECORDED)}
    section.expect(recorded <= written, f"{len(recorded - written)} recorded messages were never written")
    section.count("jobs finished", site.engine.queue.finished())
    section.count("conversations", site.rows("SELECT count(*) FROM conversations")[0][0])


def audit_soundness(site: Site, section: Section) -> None:
    """What the store says of itself, and what may not be left in the queue."""
    for what, sql in site.engine.store.checks.items():
        each(section, [f"{what}: {row}" for row in site.rows(sql)])
    each(section, list(site.engine.queue.flaws()))


def _about(site: Site, message: Message) -> str:
    """All that is known of a message, to find the cause with."""
    jobs = site.engine.queue.jobs_of(message.sid)
    rows = site.rows(
        """SELECT m.id, m.outcome, o.id, o.state, o.attempts, o.attempted_at, o.settled_at, o.reconciled, o.provider_id
           FROM messages AS m LEFT JOIN outbox AS o ON o.message_id = m.answered_by WHERE m.source LIKE ?""",
        f"%{message.sid}",
    )
    tries = [(one.status, round(one.ended - one.began, 3)) for one in message.tries]
    sent = [
        (reply.sid, reply.created, reply.reference) for reply in site.twilio.messages if message.token in reply.body
    ]
    return f"{message.token} tries={tries} jobs={jobs} rows={rows} sent={sent} in {site.directory}"


def each(section: Section, problems: Sequence[str]) -> None:
    section.problems += problems[:SHOWN]
    if len(problems) > SHOWN:
        section.problems.append(f"... and {len(problems) - SHOWN} more like the last")
