"""Every JSON document that convoq shows: what commands print with --json, and what an API answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convoq.monitoring.cost_documents import reached_document
from convoq.monitoring.findings import Finding, Level
from convoq.monitoring.holds import hold_document
from convoq.monitoring.schedule_documents import pause_document
from convoq.text import iso_time, last_line, mask_address, masked

if TYPE_CHECKING:
    from convoq.conversations.queries import Line, Summary, Transcript
    from convoq.conversations.records import Conversation, OutboxRow
    from convoq.db.backup import Backup
    from convoq.monitoring.processes import ProcessRecord
    from convoq.monitoring.snapshot import Alert, Snapshot
    from convoq.queue.base import JobRecord
    from convoq.settings.load import Loaded
    from convoq.settings.schema import KeyPath

SCHEMA_VERSION: Final = 1  # of every document; grows only when a field changes its meaning or goes
SECRET: Final = "***"  # noqa: S105 # shown in the place of one


# --- The state of the whole


def status_document(snapshot: Snapshot, alerts: Sequence[Alert]) -> dict[str, Any]:
    overview, log = snapshot.overview, snapshot.log
    return {
        "at": iso_time(snapshot.now),
        "ok": not alerts,
        "problems": [str(alert) for alert in alerts],
        "kept": snapshot.kept or None,
        "queue": {
            "kinds": {
                name: {
                    "ready": kind.ready,
                    "scheduled": kind.scheduled,
                    "running": kind.running,
                    "dead": kind.dead,
                    "oldest_wait_seconds": kind.oldest_wait,
                }
                for name, kind in snapshot.stats.kinds.items()
            },
            "dead": snapshot.dead,
            "oldest_wait_seconds": snapshot.oldest_wait,
        },
        "conversations": {
            "by_status": {name: overview.statuses.get(name, 0) for name in ("active", "idle", "closed")},
            "by_owner": {name: overview.owners.get(name, 0) for name in ("ai", "waiting", "human", "nobody")},
            "waiting": snapshot.waiting,
            "waiting_since": iso_time(snapshot.waiting_since),
        },
        "sends": {
            **{name: overview.pending.get(name, 0) for name in ("ready", "sending", "ambiguous")},
            "failed_last_day": overview.failed,
            "undelivered_last_day": overview.undelivered,
            "undelivered_by_code": dict(overview.undelivered_by_code),
            "reply_seconds": {
                "median": snapshot.reply_median,
                "p95": snapshot.reply_p95,
                "count": len(overview.reply_times),
            }
            if overview.reply_times
            else None,
        },
        "processes": [
            {
                "role": process.role,
                "host": process.host,
                "pid": process.pid,
                "version": process.version,
                "started_at": iso_time(process.started_at),
                "seen_at": iso_time(process.seen_at),
                "seen_seconds_ago": process.silence(snapshot.now),
                "status": process.status,
                "gone": process.gone,
            }
            for process in snapshot.processes
        ],
        "held": [hold_document(hold) for hold in snapshot.holds],
        "paused_schedules": [{"name": pause.name, **pause_document(pause)} for pause in snapshot.pauses],
        "budgets_reached": [reached_document(budget) for budget in snapshot.budgets],
        "database": {
            "path": snapshot.location,
            "bytes": snapshot.database_bytes,
            "log_bytes": log.bytes if log else None,
            "log_readers": [{"pid": reader.pid, "command": reader.command} for reader in (log.readers if log else ())],
            "accepts": snapshot.accepts,
        },
    }


def doctor_document(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "ok": all(finding.level is not Level.FAIL for finding in findings),
        "checks": [
            {"name": finding.name, "level": str(finding.level), "detail": finding.detail, "fix": finding.fix}
            for finding in findings
        ],
    }


def audit_document(location: str, findings: Sequence[str]) -> dict[str, Any]:
    return {"path": location, "ok": not findings, "findings": list(findings)}


def backup_document(backup: Backup, still_writing: Iterable[ProcessRecord] = ()) -> dict[str, Any]:
    """`still_writing`: what those processes do after the copy is not in it."""
    return {
        "path": str(backup.path),
        "bytes": backup.bytes,
        "schema": backup.schema,
        "jobs": backup.rows["jobs"],
        "messages": backup.rows["messages"],
        "still_writing": [{"role": one.role, "host": one.host, "pid": one.pid} for one in still_writing],
    }


def version_document() -> dict[str, Any]:
    import sqlite3
    import sys

    from convoq import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    return {"version": __version__, "python": python, "sqlite": sqlite3.sqlite_version}


# --- Jobs


def jobs_document(records: Sequence[JobRecord], *, more: bool, full: bool) -> dict[str, Any]:
    """One page of a list; `more` if there is another. Addresses are masked unless `full`."""
    documents = [job_document(record, full=full) for record in records]
    return {"jobs": documents, "next_before": records[-1].id if more else None}


def jobs_in_full(records: Sequence[JobRecord]) -> dict[str, Any]:
    """All about some jobs: with their payloads, and nothing masked."""
    return {"jobs": [job_document(record, full=True, payload=True) for record in records]}


def job_document(record: JobRecord, *, full: bool, payload: bool = False) -> dict[str, Any]:
    """The job as JSON; without its payload in lists, where addresses are masked unless `full`."""
    document: dict[str, Any] = {
        "id": record.id,
        "kind": record.kind,
        "state": str(record.state),
        "standing": str(record.standing),
        "running": record.running,
        "attempt": record.attempt,
        "max_attempts": record.max_attempts,
        "priority": priority_name(record.priority),
        "lane": None if record.ordering_key is None else _shown(record.ordering_key, full),
        "enqueued_at": iso_time(record.enqueued_at),
        "due_at": iso_time(record.due_at),
        "claimed_at": iso_time(record.claimed_at),
        "finished_at": iso_time(record.finished_at),
        "reason": None if record.reason is None else _shown(record.reason, full),
        "worker": record.worker,
        "dedup_key": None if record.dedup_key is None else _shown(record.dedup_key, full),
        "error": None if record.error is None else _shown(record.error if payload else last_line(record.error), full),
    }
    return {**document, "payload": parsed(record.payload)} if payload else document


def priority_name(priority: int) -> str:
    from convoq.jobs import INTAKE, NORMAL, PEOPLE, UPKEEP

    return {INTAKE: "intake", PEOPLE: "people", NORMAL: "normal", UPKEEP: "upkeep"}.get(priority, str(priority))


def parsed(payload: str) -> Any:
    """A job's payload; the text itself where it is no JSON."""
    try:
        return json.loads(payload)
    except ValueError:
        return payload


def _shown(text: str, full: bool) -> str:
    return text if full else masked(text)


# --- Conversations


def conversations_document(summaries: Sequence[Summary], *, more: bool, full: bool) -> dict[str, Any]:
    """One page of a list; `more` if there is another. Addresses and texts are masked unless `full`."""
    documents = [summary_document(summary, full=full) for summary in summaries]
    return {"conversations": documents, "next_before": summaries[-1].conversation.id if more else None}


def summary_document(summary: Summary, *, full: bool) -> dict[str, Any]:
    last = summary.last
    return {
        **conversation_document(summary.conversation, full=full),
        "messages": summary.messages,
        "waiting": summary.waiting,
        "waiting_since": iso_time(summary.waiting_since),
        "last": None if last is None else line_document(last, full=full),
    }


def conversation_document(conversation: Conversation, *, full: bool) -> dict[str, Any]:
    """Addresses are masked unless `full`."""
    from convoq.conversations.rules import free_text_until

    contact = conversation.contact
    return {
        "id": conversation.id,
        "contact_id": contact.id,
        "channel": contact.channel,
        "our_address": _address(conversation.our_address, full),
        "address": _address(contact.address, full),
        "name": contact.name,
        "owner": str(conversation.owner),
        "owner_name": conversation.owner_name,
        "owner_since": iso_time(conversation.owner_since),
        "owner_version": conversation.owner_version,
        "handed_reason": conversation.handed_reason,
        "paused": conversation.is_paused,
        "status": str(conversation.status),
        "closed_reason": str(conversation.closed_reason) if conversation.closed_reason else None,
        "opted_out_at": iso_time(contact.opted_out_at),
        "blocked_at": iso_time(contact.blocked_at),
        "opened_at": iso_time(conversation.opened_at),
        "last_message_at": iso_time(conversation.last_message_at),
        "last_inbound_at": iso_time(conversation.last_inbound_at),
        "free_text_until": iso_time(free_text_until(conversation)),
        "closed_at": iso_time(conversation.closed_at),
    }


def line_document(line: Line, *, full: bool) -> dict[str, Any]:
    message = line.message
    text, description = message.body, message.description
    return {
        "id": message.id,
        "direction": message.direction,
        "author": message.author,
        "written_by": message.written_by,
        "text": _shown(text, full),
        "description": _shown(description, full),
        "at": iso_time(message.at),
        "outcome": str(message.outcome) if message.outcome else None,
        "reason": None if message.reason is None else masked(message.reason),
        "tries": message.tries,
        "answered_by": message.answered_by,
        "job_id": message.job_id,
        "delivery": line.delivery,
        "parts": [part_document(part) for part in line.parts],
    }


def part_document(part: OutboxRow) -> dict[str, Any]:
    return {
        "id": part.id,
        "part": part.part,
        "resend_of": part.resend_of,
        "reference": part.reference,
        "state": part.state,
        "attempts": part.attempts,
        "provider_id": part.provider_id,
        "delivery": part.delivery,
        "error_code": part.error_code,
        "error": None if part.error is None else masked(part.error),
        "settled_at": iso_time(part.settled_at),
        "delivery_at": iso_time(part.delivery_at),
    }


def transcript_document(transcript: Transcript, jobs: Mapping[int, JobRecord]) -> dict[str, Any]:
    """Each unanswered message says what its job came to; `jobs` are what transcripts.unanswered_jobs found."""
    return {
        "conversation": conversation_document(transcript.conversation, full=True),
        "previous_id": transcript.previous_id,
        "message_count": transcript.messages,
        "messages": [
            line_document(line, full=True) | _job_document(jobs.get(line.message.id))
            for line in transcript.lines
        ],
        "drafts": [
            {
                "through": draft.through, "state": draft.state, "text": draft.text, "model": draft.model,
                "at": iso_time(draft.at),
            }
            for draft in transcript.drafts
        ],
        "transitions": [
            {
                "at": iso_time(change.at), "who": change.who, "reason": change.reason,
                "owner_before": change.owner_before, "owner_after": change.owner_after,
                "status_before": change.status_before, "status_after": change.status_after,
            }
            for change in transcript.transitions
        ],
        "model_calls": [
            {
                "through": call.through, "model": call.model, "outcome": call.outcome,
                "input_tokens": call.input_tokens, "output_tokens": call.output_tokens,
                "duration_seconds": call.duration_ms / 1000, "error": call.error, "at": iso_time(call.at),
            }
            for call in transcript.calls
        ],
        "notes": [{**note._asdict(), "at": iso_time(note.at)} for note in transcript.notes],
    }  # fmt: skip


def _job_document(job: JobRecord | None) -> dict[str, Any]:
    return {
        "job_state": None if job is None else str(job.state),
        "job_reason": None if job is None else job.reason,
        "job_error": None if job is None or job.error is None else last_line(job.error),
    }


def line_event(line: Line, conversation: Conversation, *, full: bool) -> dict[str, Any]:
    return {
        "type": "message",
        "conversation_id": conversation.id,
        "address": _address(conversation.contact.address, full),
        "message": line_document(line, full=True),
    }


def delivery_event(part: OutboxRow) -> dict[str, Any]:
    event = {"type": "delivery", "conversation_id": part.conversation_id, "message_id": part.message_id}
    return event | part_document(part)


def _address(address: str, full: bool) -> str:
    return address if full else mask_address(address)


# --- Settings


def settings_document(loaded: Loaded, *, origins: bool) -> dict[str, Any]:
    from convoq.settings.problems import dotted

    document: dict[str, Any] = {
        "file": str(loaded.file) if loaded.file else None,
        "settings": without_secrets(loaded.options.model_dump()),
    }
    if origins:
        document["origins"] = {dotted(path): str(loaded.origin(*path)) for path in _leaves(document["settings"])}
    return document


def without_secrets(value: Any, key: str = "") -> Any:
    """The value in types that JSON and TOML know, without its secrets; a payload's are known by their names."""
    from convoq.logs import looks_secret

    match value:
        case None:
            return None
        case dict():
            return {name: without_secrets(item, name) for name, item in value.items()}
        case list() | tuple():
            return [without_secrets(item, key) for item in value]
        case bool() | int() | float() | str() | Path() if not looks_secret(key):
            return str(value) if isinstance(value, Path) else value
        case Decimal():  # an amount, which JSON and TOML know as a number
            return float(value)
        case _:
            return SECRET


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    if isinstance(value, dict | list) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path
