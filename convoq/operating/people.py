"""All that there is of a person, as one document: docs/privacy.md has its schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from convoq import __version__
from convoq.channels.twilio.inbound import CHANNEL
from convoq.clock import WallClock
from convoq.conversations.acts import Acts
from convoq.conversations.erasing import Erasing
from convoq.conversations.exporting import export as read
from convoq.db.store import Store
from convoq.errors import ConvoqError
from convoq.handlers.erasing import find_jobs
from convoq.queue.base import JobAdmin, JobRecord
from convoq.text import iso_time

SCHEMA_VERSION: Final = 1


async def export(database: Store, jobs: JobAdmin, acts: Acts, addresses: Sequence[str]) -> dict[str, Any]:
    """On record as an act. Raises ConvoqError where nothing is known of them."""
    person = await Erasing(database).look(CHANNEL, addresses)
    found = await find_jobs(jobs, addresses, person.lanes)
    contacts = await database.read(read, CHANNEL, addresses)
    if not contacts and not found:
        raise ConvoqError(f"nothing is known of {addresses[-1]}")
    await acts.note_export([contact["id"] for contact in contacts])
    return {
        "schema_version": SCHEMA_VERSION,
        "convoq": __version__,
        "exported_at": iso_time(WallClock().now()),
        "contacts": contacts,
        "jobs": [_job(job) for job in sorted(found, key=lambda job: int(job.id))],
    }


def _job(job: JobRecord) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": str(job.state),
        "enqueued_at": iso_time(job.enqueued_at),
        "finished_at": iso_time(job.finished_at),
        "payload": json.loads(job.payload),
        "error": job.error,
    }
