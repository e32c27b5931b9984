"""An erased person is nowhere any more, whatever was under way; a STOP holds on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from convoq.ai.base import ReplyContext
from convoq.conversations.erasing import Erasing
from convoq.conversations.exporting import export
from convoq.conversations.text_index import TextIndex
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.handlers.erasing import Erased, Erasure, Scrub
from convoq.jobs import ReceiveMessage, raw_job, receive_job
from convoq.phone import addresses_of
from convoq.queue.base import JobFilter, JobState
from tests.clock import ManualClock
from tests.handlers.house import ANA, ANA_SMS, BEN, OURS, House, open_house
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer, running_redis

pytestmark = pytest.mark.long

DIGITS = "15551230001"
TEXT, REPLY, NOTE = "the lilac wardrobe of my aunt", "re: the lilac", "a note about mauve curtains"


@pytest.fixture(params=["beside", "redis"])
async def house(
    request: pytest.FixtureRequest, database: Database | PostgresDatabase, clock: ManualClock, twilio_timeout: float
) -> AsyncIterator[House]:
    """With its queue in the store's database, and on Redis."""
    redis: RedisServer | None = request.getfixturevalue("redis_server") if request.param == "redis" else None
    from convoq.queue.redis.connection import Server

    server = None if redis is None else Server(redis.url)
    async with open_house(database, clock, timeout=twilio_timeout, redis=server) as house:
        yield house


async def erase(house: House, number: str = "+1 555 123-0001", *, scrub: Scrub | None = None) -> Erased:
    erasure = Erasure(
        Erasing(house.database), TextIndex(house.database), house.engine, house.clock, scrub or house.database.scrub,
        channel="twilio",
    )  # fmt: skip
    return await erasure.erase(addresses_of(number), house.unwoken_acts().erase)


def files_of(house: House, request: pytest.FixtureRequest) -> list[Path]:
    if isinstance(house.database, Database):
        return [path for path in house.database.path.parent.rglob("*") if path.is_file()]
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    name = house.database.server.url.rpartition("/")[2]
    with psycopg.connect(server.url()) as connection:
        [oid] = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,)).fetchone() or (0,)
    folder = server.data / "base" / str(oid)
    return [path for path in folder.rglob("*") if path.is_file()]


def analyze(house: House) -> None:
    """As a PostgreSQL server does by itself: its statistics hold examples, also of tables that are empty later."""
    if isinstance(house.database, PostgresDatabase):
        with psycopg.connect(house.database.server.url, autocommit=True) as connection:
            connection.execute("ANALYZE")


def found_in(files: list[Path], *needles: str) -> list[tuple[str, str]]:
    return [(path.name, one) for path in files for one in needles if one.encode() in path.read_bytes()]


async def say_much(house: House) -> None:
    """A history with everything that may name a person or hold a text."""
    for number in range(20):  # what others say makes pages split
        await house.hear(f"{TEXT}, said by another {number}".replace("lilac", "green"), sender=BEN)
        await house.hear(f"{TEXT} {number}")
        await house.settle()
    await house.hear(f"{TEXT}, by SMS", sender=ANA_SMS, to="+15550009999")
    await house.settle()
    await house.send(f"{REPLY} from a person")
    await house.settle()
    await house.upkeep("housekeeping")
    await house.queue.enqueue(raw_job("remind", {"to": ANA_SMS, "about": TEXT}))
    await house.hear("")
    [claim] = await house.claim(0, reserve=10)
    await house.engine.bury(claim, claim.jobs, error=f"{TEXT} of {ANA}")
    [(conversation_id,)] = await house.rows(CONVERSATION_WITH, ANA)
    await house.unwoken_acts().note(conversation_id, NOTE)
    await house.unwoken_acts().block((await contact_of(house, ANA))[0], f"{NOTE}, said {ANA}")
    await house.change(
        "UPDATE model_calls SET error = ? WHERE conversation_id = ?", f"refused: {TEXT}", conversation_id
    )


CONVERSATION_WITH = """
    SELECT max(c.id) FROM conversations AS c JOIN threads AS t ON t.id = c.thread_id
    JOIN contacts AS p ON p.id = t.contact_id WHERE p.address = ?
"""


async def contact_of(house: House, address: str) -> tuple[int, str | None]:
    [found] = await house.rows("SELECT id, name FROM contacts WHERE address = ?", address)
    return found[0], found[1]


async def test_number_and_texts_are_in_no_file_any_more(house: House, request: pytest.FixtureRequest) -> None:
    await say_much(house)
    analyze(house)
    erased = await erase(house)
    assert erased.left == ()
    assert (erased.traces.person.conversations, erased.traces.person.messages) == (2, 43)
    assert found_in(files_of(house, request), DIGITS, "lilac", "mauve") == []
    jobs = await house.engine.list(JobFilter(), limit=500)
    assert [job.id for job in jobs if any(one in f"{job}" for one in (DIGITS, "lilac", "mauve"))] == []
    assert found_in(files_of(house, request), "green") != []  # what others said is there
    assert await house.flaws() == []


async def test_number_and_texts_are_in_no_file_of_redis_any_more(
    database: Database | PostgresDatabase, clock: ManualClock, twilio_timeout: float
) -> None:
    """Its log keeps each command, and its snapshot may be old; without compression both show what they hold."""
    with running_redis(rdbcompression="no") as redis:
        async with open_house(database, clock, timeout=twilio_timeout, redis=redis.server) as house:
            await say_much(house)
            client = redis.server.connect()
            await client.save()
            await client.aclose()
            files = [path for path in redis.folder.rglob("*") if path.is_file()]
            assert {name for name, _ in found_in(files, DIGITS)} >= {"dump.rdb", "appendonly.aof.1.incr.aof"}

            assert (await erase(house)).left == ()

            files = [path for path in redis.folder.rglob("*") if path.is_file()]
            assert found_in(files, DIGITS, "lilac", "mauve") == []
            assert found_in(files, "green") != []


async def test_what_it_cost_stays_and_is_nobodys(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    await erase(house)
    assert await house.rows("SELECT input_tokens, output_tokens FROM model_calls") == [(3, 2)]
    contacts = await house.rows("SELECT address, name FROM contacts")
    assert {(address[:7], name) for address, name in contacts} == {("erased:", None)}


async def test_who_erased_is_on_record_without_the_number(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    await erase(house)
    assert await house.rows("SELECT who, act, subject, detail FROM audit") == [("Marta", "erase", "contact:1", None)]


async def test_a_turn_that_runs_meanwhile_writes_and_sends_nothing(house: House) -> None:
    async def erased_meanwhile(_: ReplyContext) -> str:
        await erase(house)
        return REPLY

    house.responder.script = [erased_meanwhile]
    await house.hear(TEXT)
    await house.settle()
    assert house.sent == []
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []
    assert await house.rows("SELECT text FROM drafts") == []
    assert await house.rows("SELECT input_tokens, error FROM model_calls") == [(3, None)]


async def test_a_send_that_is_under_way_arrives_and_leaves_no_text(house: House) -> None:
    send = house.channel.send

    async def erased_meanwhile(message: object) -> object:
        erased = await erase(house)
        assert erased.traces.person.under_way == 1
        return await send(message)  # type: ignore[arg-type]

    house.channel.send = erased_meanwhile  # type: ignore[method-assign,assignment]
    await house.hear(TEXT)
    await house.settle()
    assert house.sent == [f"re: {TEXT}"]
    assert await house.rows("SELECT body FROM outbox") == []
    await house.report(house.twilio.messages[0].sid, "delivered")
    await house.settle()
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []


async def test_a_message_that_was_accepted_before_and_is_recorded_late_is_not_kept(house: House) -> None:
    await house.hear(TEXT)
    [claim] = await house.claim(0, reserve=10)
    await erase(house)
    await house.handle(claim)
    await house.settle()
    assert (await house.rows("SELECT body FROM messages"), house.sent) == ([], [])


async def test_a_message_of_before_that_is_found_on_the_list_later_leaves_no_job(house: House) -> None:
    await house.hear("are you open?")
    await house.settle()
    written_at = house.wall.now()
    house.clock.advance(60)
    house.wall.ahead += 60
    await erase(house)
    form = house.twilio.inbound_form(from_=ANA, to=OURS, body=TEXT, sid=house.twilio.new_sid())
    await house.queue.enqueue(receive_job(ReceiveMessage(form=tuple(form), written_at=written_at), OURS, ANA))
    await house.settle()
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []
    assert [job.kind for job in await house.engine.list(JobFilter())] == []


async def test_a_message_that_waited_to_be_written_is_erased_after_all(
    house: House, request: pytest.FixtureRequest
) -> None:
    """Dated before the erasure, it is written when that is nearly done."""
    await house.hear("are you open?")
    await house.settle()

    async def late() -> str | None:
        if not scrubbed:
            await house.hear(TEXT)
        scrubbed.append(1)
        return await house.database.scrub()

    scrubbed: list[int] = []
    await erase(house, scrub=late)
    await house.settle()
    assert found_in(files_of(house, request), DIGITS, "lilac") == []
    assert len(scrubbed) == 2


async def test_a_message_of_ours_that_is_sent_late_is_not_sent(house: House) -> None:
    await house.hear("hello there, who are you?")
    await house.settle()
    house.twilio.messages.clear()
    await house.send(REPLY)
    [claim] = await house.claim(10)
    await erase(house)
    await house.handle(claim)
    await house.settle()
    assert house.sent == []
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []


async def test_a_message_of_ours_that_is_enqueued_in_the_moment_of_the_erasure_leaves_no_job(house: House) -> None:
    """Dated before, by a process that could not write it until all was done."""
    await house.hear("hello there, who are you?")
    await house.settle()
    await erase(house)
    await house.send(REPLY)
    await house.settle()
    assert house.sent == ["re: hello there, who are you?"]
    assert await house.engine.list(JobFilter()) == []


async def test_who_writes_again_is_a_new_person(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    await erase(house)
    house.clock.advance(1)
    await house.hear("are you open?")
    await house.settle()
    assert house.sent[-1] == "re: are you open?"
    assert [line.text for line in house.responder.asked[-1].lines] == ["are you open?"]
    await erase(house)
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []


@pytest.mark.parametrize("times", [1, 2])
async def test_a_stop_of_before_the_erasure_holds_after_it(house: House, times: int) -> None:
    await house.hear("STOP")
    await house.settle()
    for _ in range(times):
        await erase(house)
        house.clock.advance(1)
        house.twilio.messages.clear()
        await house.send("we miss you")
        await house.hear("are you open?")
        await house.settle()
        assert house.sent == []
    await house.hear("START")
    await house.hear("and now?")
    await house.settle()
    assert house.sent == ["re: START + and now?"]


async def test_an_erasure_that_was_cut_off_goes_on_when_it_is_asked_for_again(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    await house.unwoken_acts().erase("twilio", addresses_of(ANA), house.clock.now())
    assert 1 in await Erasing(house.database).unfinished()
    await erase(house)
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []
    assert await Erasing(house.database).unfinished() == []


async def test_an_erasure_of_who_is_known_to_jobs_alone_goes_on_where_it_was_cut_off(house: House) -> None:
    job = await house.queue.enqueue(raw_job("remind", {"to": ANA_SMS, "about": TEXT}))
    await house.unwoken_acts().erase("twilio", addresses_of(ANA), house.clock.now())
    await house.engine.erase([job.job_id])  # and killed before the files were written anew
    scrubbed: list[int] = []

    async def scrub() -> str | None:
        scrubbed.append(1)
        return await house.database.scrub()

    assert (await erase(house, scrub=scrub)).traces
    assert (len(scrubbed), await Erasing(house.database).unfinished()) == (1, [])
    assert await house.rows("SELECT who, act FROM audit") == [("Marta", "erase")]


async def test_what_was_accepted_by_the_other_address_before_is_not_kept_either(house: House) -> None:
    await house.hear("are you open?")
    await house.settle()
    await house.hear(TEXT, sender=ANA_SMS, to="+15550009999")
    [claim] = await house.claim(0, reserve=10)
    await erase(house)
    await house.handle(claim)
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []


async def test_the_hash_is_forgotten_unless_it_keeps_a_stop(house: House) -> None:
    for sender, text in ((ANA, TEXT), (BEN, "STOP")):
        await house.hear(text, sender=sender)
        await house.settle()
        await erase(house, sender)
    erasing = Erasing(house.database)
    assert await erasing.forget_hashes(house.clock.now() + 1, 10) == 3  # both of Ana's addresses, and Ben's by SMS
    hashes = await house.rows("SELECT opted_out_at FROM contacts WHERE length(address) = ?", len("erased:") + 32)
    assert [opted_out_at is not None for (opted_out_at,) in hashes] == [True]


async def test_another_persons_longer_number_is_left_alone(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    other = await house.queue.enqueue(raw_job("remind", {"to": f"{ANA_SMS}9"}))
    await erase(house)
    assert (await house.job(other.job_id)).state is JobState.READY


async def test_everything_that_was_said_is_exported(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    [contact] = await house.database.read(export, "twilio", [ANA, ANA_SMS])
    [conversation] = contact["conversations"]
    said = [(one["author"], one["text"], len(one["parts"])) for one in conversation["messages"]]
    assert said == [("contact", TEXT, 0), ("ai", f"re: {TEXT}", 1)]
    assert [one["input_tokens"] for one in conversation["model_calls"]] == [3]
    await erase(house)
    assert await house.database.read(export, "twilio", [ANA, ANA_SMS]) == []


async def test_two_erasures_at_once_are_one(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    done = await asyncio.gather(erase(house), erase(house), return_exceptions=True)
    assert [one for one in done if isinstance(one, BaseException)] == []
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []
    assert await house.rows("SELECT our_address FROM threads") == [(OURS,)]


@pytest.mark.parametrize(
    "spelled", ["+1 555 123-0001", "(1) 555.123.0001", "+1\u00a0555\u2011123\u20110001", "0015551230001"]
)
async def test_a_job_that_spells_the_number_in_another_way_is_erased(house: House, spelled: str) -> None:
    await house.hear(TEXT)
    await house.settle()
    await house.queue.enqueue(raw_job("remind", {"to": spelled, "about": TEXT}))
    await erase(house)
    assert await house.engine.list(JobFilter(kinds=("remind",))) == []


async def test_a_job_that_names_the_number_in_its_keys_alone_is_erased(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    await house.queue.enqueue(raw_job("remind", {}, dedup_key=f"welcome {ANA_SMS}"))
    await house.queue.enqueue(raw_job("remind", {}, ordering_key=f"reminders of {ANA_SMS}"))
    await erase(house)
    assert await house.engine.list(JobFilter(kinds=("remind",))) == []


async def test_what_another_one_writes_about_the_person_is_answered_all_the_same(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    await house.hear(f"call her on {ANA_SMS} please, and are you open?", sender=BEN)
    house.twilio.messages.clear()
    await erase(house)
    await house.settle()
    assert [message.to for message in house.twilio.messages] == [BEN]


async def test_who_writes_again_before_a_cut_off_erasure_goes_on_loses_the_older_texts_too(house: House) -> None:
    await house.hear(TEXT)
    await house.settle()
    await house.unwoken_acts().erase("twilio", addresses_of(ANA), house.clock.now())
    house.clock.advance(1)
    await house.hear("hello again")
    await house.settle()
    assert (await erase(house)).left == ()
    assert await house.rows("SELECT body FROM messages WHERE body <> ''") == []
    assert await Erasing(house.database).unfinished() == []
