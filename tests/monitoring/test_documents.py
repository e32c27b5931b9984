"""The JSON documents, key by key: other programs read them, and a key that goes breaks them."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.conversations.costs import ReachedBudget
from convoq.conversations.holding import Hold
from convoq.conversations.overview import Overview
from convoq.conversations.queries import Call, Line, Note, SavedDraft, Summary, Transcript, Transition
from convoq.conversations.records import Contact, Conversation, Message, OutboxRow
from convoq.conversations.states import CloseReason, Outcome, Owner, Status
from convoq.db.log_readers import LogState
from convoq.jobs import NORMAL, PEOPLE
from convoq.monitoring.documents import (
    conversations_document,
    delivery_event,
    doctor_document,
    jobs_document,
    jobs_in_full,
    line_event,
    status_document,
    transcript_document,
)
from convoq.monitoring.findings import fail, ok
from convoq.monitoring.pauses import Pause
from convoq.monitoring.processes import ProcessRecord
from convoq.monitoring.schedule_documents import schedules_document
from convoq.monitoring.snapshot import Alert, Snapshot
from convoq.queue.base import JobRecord, JobState, KindStats, Stats
from convoq.scheduler.entries import ScheduleEntry, next_runs
from tests.clock import ManualClock

ANA = "whatsapp:+34600000001"
OURS = "whatsapp:+14155238886"
MASKED_ANA, MASKED_OURS = "whatsapp:+3460***0001", "whatsapp:+1415***8886"
T0 = "1970-01-01T00:00:00.000Z"
T1 = "1970-01-01T00:00:01.500Z"


def job(**more: Any) -> JobRecord:
    fields: dict[str, Any] = {
        "id": "7", "ordering_key": f"twilio|{OURS}|{ANA}", "kind": "greet", "payload": '{"n":1}',
        "state": JobState.DEAD, "attempt": 8, "max_attempts": 8, "priority": PEOPLE, "enqueued_at": 0,
        "claimed_at": 1500, "finished_at": 1500, "due_at": None, "running": False, "worker": None,
        "dedup_key": f"in:{ANA}",
        "error": f"Traceback:\n  a line\nValueError: no {ANA}", "reason": f"waits for {ANA}",
    }  # fmt: skip
    return JobRecord(**{**fields, **more})


JOB = {
    "id": "7", "kind": "greet", "state": "dead", "standing": "dead", "running": False, "attempt": 8,
    "max_attempts": 8, "priority": "people", "lane": f"twilio|{MASKED_OURS}|{MASKED_ANA}", "enqueued_at": T0,
    "due_at": None, "claimed_at": T1, "finished_at": T1, "reason": f"waits for {MASKED_ANA}", "worker": None,
    "dedup_key": f"in:{MASKED_ANA}", "error": f"ValueError: no {MASKED_ANA}",
}  # fmt: skip


def test_a_list_of_jobs_is_masked_and_names_the_next_page() -> None:
    assert jobs_document([job()], more=True, full=False) == {"jobs": [JOB], "next_before": "7"}
    assert jobs_document([job()], more=False, full=False)["next_before"] is None
    assert jobs_document([], more=False, full=False) == {"jobs": [], "next_before": None}


def test_a_job_in_full_has_its_payload_and_its_whole_error() -> None:
    assert jobs_in_full([job()])["jobs"] == [
        JOB
        | {
            "lane": f"twilio|{OURS}|{ANA}", "reason": f"waits for {ANA}", "dedup_key": f"in:{ANA}",
            "error": f"Traceback:\n  a line\nValueError: no {ANA}", "payload": {"n": 1},
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ({"ordering_key": None}, "lane", None),
        ({"priority": NORMAL}, "priority", "normal"),
        ({"priority": 9}, "priority", "9"),
        ({"payload": "no json"}, "payload", "no json"),
        ({"error": None}, "error", None),
    ],
)
def test_what_a_job_may_lack(change: dict[str, Any], key: str, value: object) -> None:
    assert jobs_in_full([job(**change)])["jobs"][0][key] == value


CONTACT = Contact(id=1, channel="twilio", address=ANA, name="Ana", opted_out_at=1500, blocked_at=None)
TALK = Conversation(
    id=3, thread_id=1, our_address=OURS, lane="l", owner=Owner.AI, status=Status.CLOSED,
    closed_reason=CloseReason.EXPIRED, opened_at=0, last_message_at=1500, last_inbound_at=0, closed_at=None,
    contact=CONTACT,
)  # fmt: skip
ASKED = Line(
    message=Message(id=1, direction="in", author="contact", body=f"call {ANA}", description=f"call {ANA}", at=0,
                    wall_at=0, outcome=Outcome.FAILED, reason=f"no {ANA}", answered_by=None, job_id="7", tries=2),
    conversation_id=3,
)  # fmt: skip
PART = OutboxRow(
    id=5, reference="r", thread_id=1, conversation_id=3, message_id=2, part=0, body="Hi", state="sent",
    revoked=None, attempts=1, attempted_at=0, attempted_wall=0,
    settled_at=1500, provider_id="SM1", error_code=None, error=f"to {ANA}", delivery="delivered", delivery_at=1500,
    arrived=True, resend_of=None,
    author="ai", confirms_opt_out=False, says_handover=False, committed_at=0, channel="twilio", address=ANA,
    our_address=OURS,
)  # fmt: skip
SAID = Line(
    message=Message(id=2, direction="out", author="ai", body="Hi", description="Hi", at=1500, wall_at=1500,
                    outcome=None, answered_by=None, job_id=None),
    conversation_id=3,
    parts=(PART,),
)  # fmt: skip

TALK_DOCUMENT = {
    "id": 3, "contact_id": 1, "channel": "twilio", "our_address": OURS, "address": ANA, "name": "Ana", "owner": "ai",
    "status": "closed", "closed_reason": "expired", "opted_out_at": T1, "blocked_at": None, "opened_at": T0,
    "last_message_at": T1, "last_inbound_at": T0, "free_text_until": "1970-01-02T00:00:00.000Z", "closed_at": None,
    "owner_name": None, "owner_since": None,
    "owner_version": 0, "handed_reason": None, "paused": False,
}  # fmt: skip
ASKED_DOCUMENT = {
    "id": 1, "direction": "in", "author": "contact", "written_by": None, "text": f"call {ANA}",
    "description": f"call {ANA}", "at": T0,
    "outcome": "failed", "reason": f"no {MASKED_ANA}", "tries": 2, "answered_by": None, "job_id": "7", "delivery": None,
    "parts": [],
}  # fmt: skip
PART_DOCUMENT = {
    "id": 5, "part": 0, "resend_of": None, "reference": "r", "state": "sent", "attempts": 1, "provider_id": "SM1",
    "delivery": "delivered", "error_code": None, "error": f"to {MASKED_ANA}", "settled_at": T1, "delivery_at": T1,
}  # fmt: skip
SAID_DOCUMENT = {
    "id": 2, "direction": "out", "author": "ai", "written_by": None, "text": "Hi", "description": "Hi",
    "at": T1, "outcome": None,
    "reason": None, "tries": 0, "answered_by": None, "job_id": None, "delivery": "delivered", "parts": [PART_DOCUMENT],
}  # fmt: skip


def test_a_list_of_conversations_masks_addresses_and_texts() -> None:
    summary = Summary(conversation=TALK, messages=2, waiting=1, waiting_since=0, last=ASKED)
    masked = {"our_address": MASKED_OURS, "address": MASKED_ANA}
    words = {"text": f"call {MASKED_ANA}", "description": f"call {MASKED_ANA}"}
    counts = {"messages": 2, "waiting": 1, "waiting_since": T0}

    assert conversations_document([summary], more=True, full=False) == {
        "conversations": [TALK_DOCUMENT | masked | counts | {"last": ASKED_DOCUMENT | words}],
        "next_before": 3,
    }
    assert conversations_document([summary], more=False, full=True) == {
        "conversations": [TALK_DOCUMENT | counts | {"last": ASKED_DOCUMENT}],
        "next_before": None,
    }


def test_a_transcript_has_all_that_happened() -> None:
    transcript = Transcript(
        conversation=TALK, previous_id=2, messages=9, lines=(ASKED, SAID),
        drafts=(SavedDraft(through=1, state="superseded", text="Hm", model="m", at=0),),
        transitions=(
            Transition(at=0, who="contact", reason="opened", owner_before=None, owner_after="ai", status_before=None,
                       status_after="active"),
        ),
        calls=(
            Call(through=1, model="m", outcome="ok", input_tokens=1, output_tokens=2, duration_ms=1500, error=None,
                 at=0),
        ),
        notes=(Note(id=4, at=1500, who="Marta", text="calls back at 5"),),
    )  # fmt: skip

    assert transcript_document(transcript, {1: job()}) == {
        "conversation": TALK_DOCUMENT,
        "previous_id": 2,
        "message_count": 9,
        "messages": [
            ASKED_DOCUMENT
            | {"job_state": "dead", "job_reason": f"waits for {ANA}", "job_error": f"ValueError: no {ANA}"},
            SAID_DOCUMENT | {"job_state": None, "job_reason": None, "job_error": None},
        ],
        "drafts": [{"through": 1, "state": "superseded", "text": "Hm", "model": "m", "at": T0}],
        "transitions": [
            {"at": T0, "who": "contact", "reason": "opened", "owner_before": None, "owner_after": "ai",
             "status_before": None, "status_after": "active"},
        ],
        "model_calls": [
            {"through": 1, "model": "m", "outcome": "ok", "input_tokens": 1, "output_tokens": 2,
             "duration_seconds": 1.5, "error": None, "at": T0},
        ],
        "notes": [{"id": 4, "at": T1, "who": "Marta", "text": "calls back at 5"}],
    }  # fmt: skip


def test_what_is_followed_is_shown_as_written_but_for_the_address() -> None:
    assert line_event(ASKED, TALK, full=False) == {
        "type": "message", "conversation_id": 3, "address": MASKED_ANA, "message": ASKED_DOCUMENT
    }  # fmt: skip
    assert delivery_event(PART) == {"type": "delivery", "conversation_id": 3, "message_id": 2, **PART_DOCUMENT}


def test_the_status_has_every_count_also_of_what_is_not_there() -> None:
    process = ProcessRecord(
        id="w", role="work", host="h", pid=7, version="1", started_at=0, seen_at=1500, status="busy"
    )
    snapshot = Snapshot(
        now=1500, location="/srv/convoq.db", database_bytes=4096, log=LogState(bytes=0, large=False), accepts=True,
        stats=Stats({"greet": KindStats(ready=1, dead=2, oldest_wait=1.5)}),
        overview=Overview(statuses={"active": 1}, owners={"ai": 1}, waiting=1, waiting_since=0, pending={"ready": 3},
                          reply_times=(1.0, 3.0)),
        processes=[process],
        pauses=[Pause(name="tidy", paused_at=1500, reason="closed")],
        budgets=[ReachedBudget("number", "+15550009999", "day", 1500)],
        holds=[Hold("rate", "it is fast", until=1500)],
    )  # fmt: skip

    assert status_document(snapshot, [Alert(role="serve", detail="silent", remedy="look")]) == {
        "at": T1,
        "ok": False,
        "problems": ["serve: silent: look"],
        "kept": None,
        "queue": {
            "kinds": {"greet": {"ready": 1, "scheduled": 0, "running": 0, "dead": 2, "oldest_wait_seconds": 1.5}},
            "dead": 2,
            "oldest_wait_seconds": 1.5,
        },
        "conversations": {
            "by_status": {"active": 1, "idle": 0, "closed": 0},
            "by_owner": {"ai": 1, "waiting": 0, "human": 0, "nobody": 0},
            "waiting": 1,
            "waiting_since": T0,
        },
        "sends": {
            "ready": 3, "sending": 0, "ambiguous": 0, "failed_last_day": 0, "undelivered_last_day": 0,
            "undelivered_by_code": {},
            "reply_seconds": {"median": 2.0, "p95": pytest.approx(2.9), "count": 2},
        },
        "processes": [
            {"role": "work", "host": "h", "pid": 7, "version": "1", "started_at": T0, "seen_at": T1,
             "seen_seconds_ago": 0.0, "status": "busy", "gone": False},
        ],
        "held": [{"rule": "rate", "detail": "it is fast", "since": None, "until": T1, "conversation_id": None}],
        "paused_schedules": [{"name": "tidy", "paused_at": T1, "reason": "closed"}],
        "budgets_reached": [{"scope": "number", "whose": "+1555***9999", "period": "day", "until": T1}],
        "database": {"path": "/srv/convoq.db", "bytes": 4096, "log_bytes": 0, "log_readers": [], "accepts": True},
    }  # fmt: skip


def test_the_doctors_findings_are_ok_until_one_has_failed() -> None:
    assert doctor_document([ok("disk", "fine")]) == {
        "ok": True, "checks": [{"name": "disk", "level": "ok", "detail": "fine", "fix": None}]
    }  # fmt: skip
    assert doctor_document([ok("disk", "fine"), fail("port", "taken", "end it")])["ok"] is False


def test_an_entry_has_its_next_runs() -> None:
    entry = ScheduleEntry(name="tidy", kind="greet", every=60.0)
    clock = ManualClock()
    runs = next_runs(entry, 2, queue_clock=clock, wall_clock=clock)

    document = {
        "name": "tidy", "kind": "greet", "every_seconds": 60.0, "cron": None, "timezone": "UTC", "missed": "once",
        "overlap": False, "paused": None, "next": [run.isoformat() for run in runs],
    }  # fmt: skip
    assert schedules_document([(entry, runs)], {}) == {"schedules": [document]}
    assert len(runs) == 2
    pause = Pause(name="tidy", paused_at=1500, reason=None)
    assert schedules_document([(entry, [])], {"tidy": pause}) == {
        "schedules": [document | {"paused": {"paused_at": T1, "reason": None}, "next": []}]
    }
