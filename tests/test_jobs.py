"""Messages stand in their thread's lane, whichever way they come into the queue."""

from __future__ import annotations

import json

import pytest

from convoq.jobs import INTAKE, NORMAL, NewJob, SendMessage, raw_job, receive_key, turn_key

PAYLOAD = {"our_address": "+15550009999", "address": "+15551230001", "body": "hello"}
LANE = turn_key("twilio", "+15550009999", "+15551230001")


def test_a_message_without_a_key_stands_in_its_threads_lane() -> None:
    assert raw_job("send_message", dict(PAYLOAD)).ordering_key == LANE


def test_no_other_key_takes_a_message_out_of_its_threads_lane() -> None:
    assert raw_job("send_message", dict(PAYLOAD), ordering_key="mine").ordering_key == LANE


def test_a_webhooks_form_stands_in_a_lane_of_its_thread_and_waits_behind_no_turn() -> None:
    form = [("From", "+15551230001"), ("To", "+15550009999"), ("MessageSid", "SM1")]
    job = raw_job("receive_message", {"form": form}, ordering_key="mine", priority=NORMAL)
    assert job.ordering_key == receive_key("twilio", "+15550009999", "+15551230001")
    assert (job.priority, job.max_attempts) == (INTAKE, 3)


def test_a_turn_is_not_enqueued_by_hand() -> None:
    with pytest.raises(ValueError, match="wake_threads"):
        raw_job("process_ai_response", {"thread": 1})


def test_a_message_cannot_be_delayed_out_of_its_order() -> None:
    with pytest.raises(ValueError, match="delay"):
        raw_job("send_message", dict(PAYLOAD), delay=5.0)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        raw_job("mine", {"x": float("nan")})


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_an_empty_dedup_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="a dedup key is not empty"):
        raw_job("mine", {}, dedup_key=key)


def test_a_messages_text_is_enqueued_without_what_cannot_be_encoded_or_seen() -> None:
    job = raw_job("send_message", {**PAYLOAD, "body": "a\ud83d\x00b \u202ec 👍"})
    assert SendMessage.model_validate_json(job.payload).body == "ab c 👍"
    assert job.payload.encode()


def test_a_message_that_was_enqueued_before_is_repaired_when_it_is_read() -> None:
    assert SendMessage.model_validate(PAYLOAD | {"body": "a\x07b"}).body == "ab"


def test_half_a_character_in_a_payload_comes_back_as_it_was() -> None:
    payload: dict[str, object] = {"name": "José", "text": "cut \ud83d"}
    job = raw_job("mine", dict(payload))
    assert json.loads(job.payload.encode()) == payload


def test_intake_is_refused_to_every_kind_but_receive_message() -> None:
    allowed = r"priority is 1 \(people\), 2 \(normal\) or 3 \(upkeep\), not 0"
    for kind in ("mine", "send_message", "record_delivery_status"):
        with pytest.raises(ValueError, match=allowed):
            NewJob(kind=kind, payload="{}", priority=INTAKE)
    with pytest.raises(ValueError, match=allowed):
        raw_job("mine", {}, priority=INTAKE)
    assert NewJob(kind="receive_message", payload="{}", priority=INTAKE).priority == INTAKE
