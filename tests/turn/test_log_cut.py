"""The log of a run, cut at each of its commits as a power cut may leave it: every such state goes on to its end."""

from __future__ import annotations

import shutil
from pathlib import Path

from convoq.db import Database
from convoq.db.files import log_of
from convoq.loopback.faults import reset, too_many
from convoq.loopback.messages import TwilioMessage
from convoq.monitoring.audit import examine
from convoq.queue.base import JobFilter
from tests.clock import ManualClock
from tests.handlers.house import House, open_house
from tests.write_ahead_log import commits, end_of

ROOM = 50_000  # zeros behind the end: what commits overwrite
LOST = """
    SELECT count(*) FROM jobs WHERE kind = 'receive_message' AND state = 'done'
    AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.job_id = CAST(jobs.id AS TEXT))
"""


async def play(house: House) -> None:
    """A burst, a reply in parts, faults, a message of ours that is cancelled, STOP and START."""
    for text in ("hi", "are you open", f"on Sunday?{' word' * 400}"):
        await house.hear(text)
    await house.settle()
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("and on Monday?")
    await house.settle()
    house.twilio.fail_next(too_many("60"))
    job_id = await house.send("your table is ready")
    await house.step()
    await house.engine.cancel(JobFilter(ids=(job_id,)))
    for text in ("thanks", "STOP", "anybody?", "START", "back again"):
        await house.hear(text)
        await house.step()
    await house.settle()


async def test_every_commit_boundary_is_a_state_that_goes_on_to_its_end(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "played" / "convoq.db"
    sent: list[tuple[int, TwilioMessage]] = []
    async with await Database.open(path, clock=clock) as database:
        await database.make_room()
        await database.tidy()
        original = path.read_bytes()
        async with open_house(database, clock) as house:
            house.twilio._clock = clock
            house.twilio.listen(lambda _, message: sent.append((end_of(log_of(path).read_bytes()), message)))
            await play(house)
        log = log_of(path).read_bytes()
    log = log[: end_of(log) + ROOM]
    ends = commits(log)
    assert len(ends) > 60
    for number, end in enumerate(ends):
        cut = tmp_path / str(number) / "convoq.db"
        cut.parent.mkdir()
        cut.write_bytes(original)
        log_of(cut).write_bytes(log[:end] + bytes(len(log) - end))
        later = ManualClock()
        later.set(clock.now())
        await go_on(cut, later, [message for size, message in sent if size <= end])
        shutil.rmtree(cut.parent)


async def go_on(path: Path, clock: ManualClock, sent: list[TwilioMessage]) -> None:
    """To its end, with a Twilio that has what had been sent by then: a request follows a commit that cannot be lost."""
    async with await Database.open(path, clock=clock) as database, open_house(database, clock) as house:
        house.twilio._clock = clock
        house.twilio.messages.extend(sent)
        assert await database.read(examine) == []
        assert await house.rows(LOST) == [(0,)]
        clock.advance(61)  # the claims of before are over
        await house.settle()
        assert await database.read(examine) == []
        assert await house.rows("SELECT body FROM messages WHERE direction = 'in' AND outcome IS NULL") == []
        assert await house.rows("SELECT state FROM outbox WHERE state IN ('ready', 'sending', 'ambiguous')") == []
        assert house.sent == [body for (body,) in await house.rows(SENT)]
        said = " ".join(house.sent)
        for text, outcome in await house.rows(ANSWERS):
            assert said.count(text.partition(" word")[0]) == outcome, f"{text}: {said}"


SENT = "SELECT body FROM outbox WHERE state = 'sent' ORDER BY id"
# How often each message is to be read in what was sent: once, or not at all where a STOP or a cancel kept it back.
ANSWERS = """
    SELECT m.body, o.state = 'sent' FROM messages AS m
    LEFT JOIN outbox AS o ON o.message_id = m.answered_by AND o.part = 0
    WHERE m.direction = 'in' AND m.outcome = 'answered'
"""
