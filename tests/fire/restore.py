"""An older backup is put in place under running roles, and the operator goes on with it.

What was acknowledged between the backup and that moment is not in it: this is what a restore gives up, it stands in the
file that was moved aside, and it is counted apart. So is what the backup holds as unanswered and was answered since: it
is answered again. All else is owed as ever, and above all whatever is acknowledged from that moment on.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.fire.audit import Forgotten, settle
from tests.fire.crowd import Crowd
from tests.fire.harmed import Harmed
from tests.fire.peers import TOKEN
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.site import Site, open_site

HELD = "SELECT payload FROM jobs UNION ALL SELECT body FROM messages"
UNANSWERED = """
    SELECT payload FROM jobs WHERE kind = 'receive_message' AND state <> 'done'
    UNION ALL SELECT body FROM messages WHERE direction = 'in' AND outcome IS NULL
"""
EXPLAINED = {"while convoq was running": "the backup in the file's place was noticed: the role ends with 78"}


async def restore(plan: Plan) -> Section:
    section = Section("restore", "an older backup is put in place under running roles, and stays")
    async with open_site(plan.directory, modelled=True) as site:
        crowd = Crowd(site, plan.rng, size=12)
        harmed = Harmed(site, crowd, section)
        restored = Restored(set(), set(), set())
        plan.begin()
        async with crowd.writing():
            while plan.left() > 0:
                plan.doing(f"{plan.done} restores")
                await harmed.until_accepted(50)
                await _restore(harmed, plan.directory / f"before-{plan.done}", restored)
                section.count("restores")
                plan.done += 1
                await site.until_ready()
                await harmed.until_accepted(50)
        forgotten = Forgotten(restored.given_up | restored.unanswered, restored.sids)
        await settle(site, crowd, section, explained=EXPLAINED, forgotten=forgotten)
        _audit(section, site, crowd, restored)
    return section


class Restored(NamedTuple):
    """What the backups did not know when they were put in place."""

    given_up: set[str]  #: the tokens of what was acknowledged since
    unanswered: set[str]  #: the tokens of what they hold as unanswered: it is answered once more if it was since
    sids: set[str]  #: the replies to either that Twilio held by then


async def _restore(harmed: Harmed, before: Path, restored: Restored) -> None:
    await asyncio.to_thread(before.mkdir)
    backup = before / "backup.db"
    await harmed.backup(backup)
    held, unanswered = _tokens(backup, HELD), _tokens(backup, UNANSWERED)
    await harmed.until_accepted(50)
    harmed.hold()
    harmed.database.rename(before / "convoq.db")
    backup.rename(harmed.database)
    await harmed.refused()
    for name in ("convoq.db-wal", "convoq.db-shm"):
        harmed.database.with_name(name).rename(before / name)  # as the line says that a start would end with
    given_up = _tokens(before / "convoq.db", HELD) - held
    for reply in harmed.site.twilio.messages:
        if (given_up | unanswered).intersection(TOKEN.findall(reply.body)):
            restored.sids.add(reply.sid)
    restored.given_up.update(given_up)
    restored.unanswered.update(unanswered)
    harmed.release()


def _tokens(file: Path, sql: str) -> set[str]:
    """Those of all messages that the query finds in the file and its log."""
    with closing(sqlite3.connect(file)) as connection:
        return {token for (text,) in connection.execute(sql) for token in TOKEN.findall(text or "")}


def _audit(section: Section, site: Site, crowd: Crowd, restored: Restored) -> None:
    said = [token for reply in site.twilio.messages for token in TOKEN.findall(reply.body)]
    accepted = {message.token for message in crowd.messages if message.accepted}
    given_up = (accepted & restored.given_up) - {*said}
    section.count("acknowledged after the backup: in the file aside", len(accepted & restored.given_up))
    section.count("  of these not answered by then", len(given_up))
    twice = sum(said.count(token) > 1 for token in restored.unanswered)
    section.count("unanswered in the backup", len(restored.unanswered))
    section.count("  of these answered then, and again", twice)
    owed = restored.unanswered - {*said}
    section.expect(not owed, f"unanswered in the backup, and never answered: {sorted(owed)[:5]}")
