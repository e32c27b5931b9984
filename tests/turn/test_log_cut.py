"""The log of a run, cut at each of its commits as a power cut may leave it: every such state goes on to its end."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from convoq.db import Database
from convoq.loopback.faults import reset, too_many
from convoq.monitoring.audit import examine
from convoq.queue.base import JobFilter
from tests.clock import ManualClock
from tests.handlers.house import House, open_house

WAL_HEADER, FRAME_HEADER = 32, 24
LOST = """
    SELECT count(*) FROM jobs WHERE kind = 'receive_message' AND state = 'done'
    AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.job_id = CAST(jobs.id AS TEXT))
"""


async def play(house: House) -> None:
    """A burst, a reply in parts, faults, a message of ours that is cancelled, STOP and START."""
    house.responder.script = [" ".join(f"word {number}" for number in range(400))]
    for text in ("hi", "are you open", "on Sunday?"):
        await house.hear(text)
    await house.settle()
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("and on Monday?")
    await house.settle()
    house.twilio.fail_next(too_many("60"))
    job_id = await house.send("your table is ready")
    await house.step()
    await house.engine.cancel(JobFilter(ids=(job_id,)))
    for text in ("thanks", "STOP", "hello?", "START", "hello again"):
        await house.hear(text)
        await house.step()
    await house.settle()


def commits(log: bytes) -> Iterator[int]:
    """Where each transaction of the log ends (sqlite.org/fileformat2.html, section 4.1)."""
    (page,) = struct.unpack(">I", log[8:12])
    for end in range(WAL_HEADER + FRAME_HEADER + page, len(log) + 1, FRAME_HEADER + page):
        (pages_after_commit,) = struct.unpack(">I", log[end - page - FRAME_HEADER + 4 : end - page - FRAME_HEADER + 8])
        if pages_after_commit:
            yield end


async def test_every_commit_boundary_is_a_state_that_goes_on_to_its_end(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "played" / "convoq.db"
    async with await Database.open(path, clock=clock) as database:
        await database.checkpoint()
        original = path.read_bytes()
        async with open_house(database, clock) as house:
            await play(house)
        log = path.with_name("convoq.db-wal").read_bytes()
    ends = list(commits(log))
    assert len(ends) > 60
    for number, end in enumerate(ends):
        cut = tmp_path / str(number) / "convoq.db"
        cut.parent.mkdir()
        cut.write_bytes(original)
        cut.with_name("convoq.db-wal").write_bytes(log[:end])
        later = ManualClock()
        later.set(clock.now())
        await go_on(cut, later)
        shutil.rmtree(cut.parent)


async def go_on(path: Path, clock: ManualClock) -> None:
    async with await Database.open(path, clock=clock) as database, open_house(database, clock) as house:
        assert await database.read(examine) == []
        assert await house.rows(LOST) == [(0,)]
        clock.advance(61)  # the claims of before are over
        await house.settle()
        assert await database.read(examine) == []
        assert await house.rows("SELECT body FROM messages WHERE direction = 'in' AND outcome IS NULL") == []
        assert await house.rows("SELECT state FROM outbox WHERE state IN ('ready', 'sending', 'ambiguous')") == []
        assert len(set(house.sent)) == len(house.sent)
