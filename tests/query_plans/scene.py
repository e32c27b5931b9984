"""All that roles and commands do with the database, once each, so that every statement is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from convoq.ai.base import CallBound, ModelCall, ReplyContext
from convoq.console.pages.acting import PageRequest
from convoq.conversations.access import AccessRole, AccessTokens, make_token
from convoq.conversations.acts import Acts
from convoq.conversations.audit_trail import AuditTrail
from convoq.conversations.ceilings import BudgetRules, Ceiling
from convoq.conversations.changes import read_changes, read_place
from convoq.conversations.costs import CostsBy, read_costs
from convoq.conversations.figures import Span, read_happened, read_minutes
from convoq.conversations.idempotency import Repeated, Request
from convoq.conversations.notices import Notices, Silence
from convoq.conversations.notifications import NotifyTarget, settle_notifications
from convoq.conversations.operator_list import OperatorList
from convoq.conversations.ownership import ActRefused
from convoq.conversations.pausing import list_pauses, number_scope, thread_scope
from convoq.conversations.queries import Reading
from convoq.conversations.resending import Resending
from convoq.conversations.search import ConversationFilter
from convoq.conversations.sessions import Sessions, make_secret
from convoq.conversations.states import Owner, Status
from convoq.conversations.templates import Template, TemplateRequest, Templates
from convoq.conversations.timeline import Timeline
from convoq.conversations.tracing import read_turn
from convoq.conversations.unsent import read_unsent
from convoq.db import Database
from convoq.db.backup import back_up
from convoq.errors import RetryLater, Unrecoverable
from convoq.handlers.answer import Sentences
from convoq.handlers.disclosing import Disclosure
from convoq.handlers.receive import enqueue_turns
from convoq.jobs import NewJob, raw_job, turn_job, turn_key
from convoq.loopback.faults import error, refused, reset, too_many
from convoq.monitoring.audit import examine
from convoq.monitoring.processes import Processes
from convoq.monitoring.snapshot import take
from convoq.queue.base import Ending, JobFilter, JobState, Standing, settle_nothing
from convoq.scheduler.progress import SqlProgress
from convoq.settings.notify import Event
from tests.clock import ManualClock
from tests.handlers.house import ANA, BEN, OURS, Engine, House, open_engine, open_house
from tests.handovers import GIVE_BACK_WITHIN, SILENT_WITHIN, TAKEN_WITHIN
from tests.query_plans.by_operators import change_many, erase
from tests.query_plans.growth import ROWS

MOST = 10**9
BUDGETS = BudgetRules(
    ceilings=(
        Ceiling(scope="contact", period="day", tokens=2 * MOST),
        Ceiling(scope="number", period="day", tokens=MOST),
        Ceiling(scope="number", period="month", tokens=MOST),
    )
)
LANE = turn_key("twilio", OURS, ANA)
DISCLOSURE = Disclosure({"en": "I am an AI."}, lambda _: "en")
# A value for each field: a new one is a new way to search, and wants its own.
JOB_FIELDS: dict[str, Any] = {
    "ids": ("1", "2"), "kinds": ("x", "y"), "states": (JobState.DEAD,), "ordering_key": LANE, "text": "hello",
    "standings": (Standing.RUNNING,), "since": 1, "waiting_key": "w",
}  # fmt: skip
CONVERSATION_FIELDS: dict[str, Any] = {
    "statuses": (Status.ACTIVE,), "owners": (Owner.AI,), "address": "+1555", "text": "hello", "waiting": True,
    "failed": True, "since": 1, "owner_name": "Marta", "our_address": OURS, "in_name": True, "longest_first": True,
}  # fmt: skip


async def play(path: Path, *, before: Callable[[Database], Awaitable[None]]) -> None:
    """Everything, on a database at `path` that `before` has filled."""
    clock = ManualClock()
    async with await Database.open(path) as database:
        await before(database)
    notices = Notices({silence: {"en": "Sorry."} for silence in Silence}, lambda _: "en")
    sentences = Sentences(notices, holding_after=0)
    async with (
        await Database.open(path, clock=clock) as database,
        open_house(database, clock, sentences=sentences, budgets=BUDGETS, disclosure=DISCLOSURE) as house,
    ):
        await house.notifications.set_targets([NotifyTarget("webhook", "f", tuple(Event))])
        await _converse(house)
        await _spend(house)
        await _fail(house)
        await _send_again(house)
        await _send_again_by_hand(house)
        await _step_in(house)
        await _die(house)
        await _notify(house)
        await _upkeep(house)
        await _operate(house.engine)
        await _read(house)
        await _watch(database, house.engine)
        await _let_in(house)
        await erase(house)


async def _sign_in(house: House, marta: Acts) -> None:
    """People come in with a link, into a session that ends."""
    sessions, secret = Sessions(house.database), make_secret()
    await marta.issue_link(secret, "Marta", AccessRole.OPERATOR)
    made = await sessions.sign_in(secret, "a browser")
    assert made is not None
    assert await sessions.find(made[0]) == made[1]
    request = PageRequest(
        session_id=made[1].id, operator="Marta", key="p", fingerprint="f", answer=lambda _: {},
    )  # fmt: skip
    with suppress(LookupError):
        await Acts(house.database, house.wall, "Marta", lambda *_: None, errand=request).note(0, "tea")
    await marta.end_session(made[1].id)


async def _let_in(house: House) -> None:
    """Programs come in with a token, until it is revoked."""
    tokens, marta, made = AccessTokens(house.database), house.acts(), make_token()
    await marta.add_operator("Marta")
    await marta.issue_token(made, "Marta", AccessRole.OPERATOR)
    token = await tokens.find(made)
    assert token is not None
    await tokens.note_use(token.id)
    await _sign_in(house, marta)
    await house.hear_at_once("are you there?")
    [(newest, _)] = await house.rows(NEWEST, ANA)
    for _ in range(2):
        request = Request(
            token_id=token.id, operator="Marta", key="k", fingerprint="f", answer=lambda note: {"note_id": note},
            conversation_id=newest,
        )  # fmt: skip
        with suppress(Repeated):
            await Acts(house.database, house.wall, "Marta", lambda *_: None, errand=request).note(newest, "tea")
    with suppress(ActRefused):
        await marta.leave(newest)
    with suppress(ActRefused):
        await marta.reopen(newest)
    await marta.close(newest)
    await marta.reopen(newest)
    await marta.revoke_token(token.id)
    await tokens.all()


async def _converse(house: House) -> None:
    async def interrupted(_: object) -> str:
        await house.hear_at_once("and on Monday?")
        return "yes"

    house.responder.script = [interrupted]
    await house.hear("open on Sunday?")
    await house.settle()
    await house.send("your table is ready")
    await house.settle()
    for message in house.twilio.messages:
        await house.report(message.sid, "delivered", reference="none")
    await house.settle()
    for text in ("STOP", "are you there?", "START", "hello again"):
        await house.hear(text)
        await house.settle()
    await house.hear("is it you?", sender=BEN)
    await house.settle()
    [(conversation_id,)] = await house.rows("SELECT max(id) FROM conversations")
    for owner in (Owner.HUMAN, Owner.NOBODY, Owner.AI):
        await house.change("UPDATE conversations SET owner = ? WHERE id = ?", owner, conversation_id)
        await house.hear(f"to {owner}", sender=BEN)
        await house.settle()


async def _spend(house: House) -> None:
    """A request that nobody records, which is lost, and one that is more than may be."""

    async def unrecorded(context: ReplyContext) -> str:
        await context.hold(CallBound(model="m", input_tokens=1, most_input_tokens=1, output_tokens=1))
        return "yes"

    async def recorded(context: ReplyContext) -> str:
        held = await context.hold(CallBound(model="m", input_tokens=1, most_input_tokens=1, output_tokens=1))
        await context.record(ModelCall(model="m", outcome="ok", hold=held))
        return "yes"

    async def too_much(context: ReplyContext) -> str:
        await context.hold(CallBound(model="m", input_tokens=1, most_input_tokens=MOST + 1, output_tokens=1))
        return "never"

    house.responder.script = [unrecorded, recorded, too_much]
    for text in ("one", "two", "three"):
        await house.hear(text)
        await house.step()
    await house.settle()


async def _fail(house: House) -> None:
    house.responder.script = [RetryLater(5, "busy"), Unrecoverable("never")]
    await house.hear("is anybody there?")
    await house.settle()
    [dead] = await house.dead()
    await house.engine.retry_dead(JobFilter(ids=(dead.id,)))
    await house.settle()
    await _settle_otherwise(house)
    for fault in (too_many(), refused(63003), reset(), error(accepted=True), refused(21610)):
        house.twilio.fail_next(fault)
        await house.hear("once more", sender=BEN)
        await house.settle()


async def _send_again(house: House) -> None:
    """What arrived after all, what is sent once more, and what may not be."""
    for owner in (Owner.AI, Owner.AI, Owner.HUMAN):
        await house.hear("did it arrive?")
        await house.live(1)
        await house.report(house.twilio.messages[-1].sid, "undelivered", code=30008)
        await house.live(1)
        if owner is Owner.HUMAN:
            await house.engine.cancel(JobFilter(kinds=("send_again",)))
            await house.engine.retry_dead(JobFilter(kinds=("send_again",)))
        for now in (owner, Owner.AI):
            [(newest,)] = await house.rows("SELECT max(id) FROM conversations")
            await house.change("UPDATE conversations SET owner = ? WHERE id = ?", now, newest)
            await house.settle()


async def _send_again_by_hand(house: House) -> None:
    """All that may have failed, and what is to be divided."""
    await house.engine.cancel(JobFilter(ids=(await house.send("long " * 400),)))
    for (message_id,) in await house.rows("SELECT id FROM messages WHERE direction = 'out' AND id > ?", ROWS):
        await Resending(house.database, house.wall).resend(message_id, partial(enqueue_turns, house.joined))
    await house.settle()


async def _step_in(house: House) -> None:
    """People of ours take over, answer, give back, pause, block and close; nobody comes, and one is silent."""
    marta, number, reply = house.acts(), number_scope(OURS), "what is it about? " * 120
    await house.hear("a question")
    await house.settle()
    [(newest, contact)] = await house.rows(NEWEST, ANA)
    for step in (marta.take_over, partial(marta.reply, said=reply, key="k"), partial(marta.reply, said=reply, key="k")):
        await house.hear_at_once("a question")
        await step(newest)
        await house.settle()
    await marta.note(newest, "a note")
    await marta.release(newest)
    await _take_from_the_ai(house, newest)
    await marta.pause(number, "training")
    await house.hear("hello?")
    await house.settle()
    for seconds in (TAKEN_WITHIN, GIVE_BACK_WITHIN):
        house.clock.advance(seconds)
        await house.upkeep("process_handovers")
    await house.database.read(list_pauses)
    await marta.resume(number)
    [(thread,)] = await house.rows("SELECT thread_id FROM conversations WHERE id = ?", newest)
    await marta.pause(thread_scope(thread))
    await marta.resume(thread_scope(thread))
    await marta.take_over(newest)
    await house.hear_at_once("hello?")
    for seconds in (SILENT_WITHIN, TAKEN_WITHIN, GIVE_BACK_WITHIN):
        house.clock.advance(seconds)
        await house.upkeep("process_handovers")
    await marta.block(contact)
    await marta.unblock(contact)
    await marta.close(newest)
    written = await marta.write_to("twilio", OURS, ANA, "one more thing")
    with suppress(ActRefused):
        await marta.take_over(newest)
    await house.settle()
    templates = Templates(house.database, house.wall)
    await templates.replace_all([Template("HX1", "hi", "en", "twilio/text", "Hi", (), "utility", "approved", "")])
    await templates.all()
    with suppress(ActRefused):
        await marta.write_to("twilio", OURS, ANA, TemplateRequest(name="hello"))
    await marta.add_operator("Luis")
    await house.acts("Luis").take_over(written.change.conversation.id, force=True)
    await marta.remove_operator("Luis")
    await OperatorList(house.database).all()
    await Reading(house.database).our_addresses()
    await AuditTrail(house.database).list(limit=5, before=5, since=1, who="Marta", conversation_id=newest)


async def _take_from_the_ai(house: House, conversation_id: int) -> None:
    """While its answer is on its way, of which some has left or nothing."""
    for fault in (None, too_many("1"), reset(accepted=False)):
        house.responder.script = ["word " * 800]
        if fault is not None:
            house.twilio.fail_next(fault)
        await house.hear_at_once("a question")
        await house.turn()
        await house.acts().take_over(conversation_id)
        await house.acts().release(conversation_id)
        await house.settle()


NEWEST = """
    SELECT c.id, p.id FROM contacts AS p JOIN threads AS t ON t.contact_id = p.id
    JOIN conversations AS c ON c.thread_id = t.id WHERE p.address = ? AND c.status <> 'closed'
"""


async def _settle_otherwise(house: House) -> None:
    """A turn and messages of ours, each cancelled, retried, buried and discarded."""
    house.twilio.fail_next(too_many("3600"), times=2)
    await house.hear("never mind")
    await house.step()
    job_ids = [(await house.turn_job()).id, await house.send("one"), await house.send("two")]
    for job_id in job_ids:
        await house.engine.cancel(JobFilter(ids=(job_id,)))
        await house.engine.retry_dead(JobFilter(ids=(job_id,)))
    for _ in range(2):
        for claim in await house.claim(9):
            await house.engine.bury(claim, claim.jobs, error="e")
    for job_id in job_ids[:2]:
        await house.engine.retry_dead(JobFilter(ids=(job_id,)))
    await house.settle()
    await house.engine.discard(JobFilter(ids=tuple(job_ids)))


async def _notify(house: House) -> None:
    """What was told and what was not, of a target that fails, is gone, comes back and is named no more."""
    webhook, told = NotifyTarget("webhook", "f", tuple(Event)), house.notifications
    await told.set_targets([webhook, webhook._replace(name="mail")])
    for text in ("a question", "another question"):
        await house.hear(text)
        await house.settle()
        [(newest, _)] = await house.rows(NEWEST, ANA)
        await house.acts().take_over(newest)
        await house.acts().close(newest)
    house.clock.advance(3600)
    await house.watch.look()
    for texts in (True, False):
        found = await told.next("webhook", texts=texts)
        assert found is not None
        await told.mark_failed(found, "webhook", "no", "7")
        await told.mark_sent(found, "webhook")
    for ending in (Ending.BURIED, Ending.RETRIED):
        await house.database.write(settle_notifications, ending, "7", 1)
    await told.switch_off("webhook", "gone")
    await told.switch_on("webhook")
    await told.targets()
    await told.set_targets([webhook])


async def _die(house: House) -> None:
    """A worker that is gone, one whose lease is renewed, and sends whose answers were lost."""
    await house.queue.enqueue(raw_job("x", {}, ordering_key="k"))
    gone = open_engine(house.database, settle_nothing)
    await gone.register("gone")
    [claim] = await gone.claim(5, lease=60, worker="gone")
    gone.extend([claim], lease=60)
    await gone.close()
    assert await house.engine.recover() == 1
    [claim] = await house.engine.claim(5, lease=60, worker="late")
    await house.engine.nack(claim, delay=60, aside=True)
    await house.engine.busy(["k"])
    house.clock.advance(60)
    [claim] = await house.engine.claim(5, lease=60, worker="late")
    await house.queue.enqueue(raw_job("x", {}, ordering_key="k"))
    await house.engine.nack(claim, delay=0, charged=claim.jobs, error="e", reason="r")
    await _join(house)
    await _skip(house)
    await house.queue.enqueue(raw_job("x", {}, delay=60))
    await house.engine.run_now(JobFilter(kinds=("x",)))
    await house.engine.cancel(JobFilter(kinds=("x",)))


async def _skip(house: House) -> None:
    """A job that another one of its waiting key joins, and that no worker begins in time."""
    for slot in ("1", "2"):
        job = NewJob(kind="z", payload="{}", dedup_key=slot, waiting_key="z", start_within=0)
        await house.queue.enqueue(job)
    house.clock.advance(1)
    for claim in await house.engine.claim(9, lease=60, worker="late"):
        if claim.jobs[0].late:
            await house.engine.skip(claim, claim.jobs, reason="late")
        else:
            await house.engine.nack(claim, delay=0)


async def _join(house: House) -> None:
    """What the store does with the queue in transactions of its own."""
    joined = house.joined
    job = raw_job("y", {}, ordering_key="l", max_attempts=1)
    for _ in range(2):
        await house.database.write(joined.enqueue, job)
    await house.database.write(joined.kick, "l")
    for claim in await house.engine.claim(5, lease=60, worker="late"):
        if claim.lane == "l":
            await house.database.write(lambda tx, claim: joined.ack(tx, claim, forget=True), claim)
        else:
            await house.engine.nack(claim, delay=0)
    joined.wake()


async def _upkeep(house: House) -> None:
    await house.upkeep("process_idle")
    house.clock.advance(10 * 86_400)
    for kind in ("process_idle", "process_expired", "wake_threads", "catch_up", "housekeeping"):
        await house.upkeep(kind)
    await house.hear("me again")
    await house.settle()


async def _operate(engine: Engine) -> None:
    assert {one.name for one in fields(JobFilter)} == JOB_FIELDS.keys()
    filters = [JobFilter(**{name: value}) for name, value in JOB_FIELDS.items()]
    filters += [JobFilter(), *(JobFilter(states=(state,)) for state in JobState)]
    for where in filters:
        await engine.list(where)
        await engine.list(where, before="100")
        await engine.count(where)
        for change in (engine.run_now, engine.cancel, engine.retry_dead, engine.discard):
            await engine.enqueue([raw_job("x", {"text": "hello"}, ordering_key=LANE)], max_attempts=1)
            await change(where)
    await engine.busy([LANE])
    await engine.next_due()


async def _read(house: House) -> None:
    reading = Reading(house.database)
    assert {one.name for one in fields(ConversationFilter)} == CONVERSATION_FIELDS.keys()
    for where in (ConversationFilter(**{name: value}) for name, value in CONVERSATION_FIELDS.items()):
        await reading.find(where, before=(1 << 50, 1))
        await reading.count(where, most=10)
    await reading.find(ConversationFilter())
    for page in (None, (0, 1)):
        await reading.find(ConversationFilter(text="hello", in_name=True, longest_first=True), before=page)
    await reading.of_person(ANA)
    await reading.person(1)
    await reading.get(1)
    await reading.transcript(1)
    await reading.transcript(1, before=3)
    [(answer,)] = await house.rows("SELECT max(answered_by) FROM messages")
    assert await house.database.read(read_turn, answer)
    assert await house.database.read(read_unsent, 0)
    for ours in (None, (OURS,)):
        assert await house.database.read(read_happened, Span(start=0, end=1 << 50, ours=ours))
    assert await house.database.read(read_minutes, 0, 1 << 50)
    await house.database.read(read_changes, await house.database.read(read_place))
    await change_many(house)
    [(thread,)] = await house.rows("SELECT max(id) FROM threads")  # of who has opted out
    turn = turn_job(thread, LANE)
    assert await reading.useless_retries([("1", turn.kind, turn.payload)])
    for conversation_id in (None, 1):
        await reading.newest_lines(5, conversation_id=conversation_id)
        await reading.lines_after(0, conversation_id=conversation_id)
    await reading.newest_parts()
    timeline = Timeline(house.database)
    await timeline.thread(LANE, limit=5)
    await timeline.answers()


async def _watch(database: Database, engine: Engine) -> None:
    processes, progress = Processes(database), SqlProgress(database)
    await processes.announce("a", "work", "fine")
    await take(database, engine, BUDGETS)
    for by in CostsBy:
        await read_costs(database, by, 1)
    await processes.leave("a")
    await progress.record("nightly", "every 60", 1)
    await progress.last("nightly")
    await database.check()
    await database.read(examine)
    await back_up(database, await asyncio.to_thread(database.path.with_suffix, ".copy"))
