"""What Twilio's webhooks become, and what it hears."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.channels.twilio.signature import sign
from convoq.channels.twilio.webhooks import EMPTY_TWIML, INBOUND_PATH, STATUS_PATH
from convoq.errors import DatabaseUnavailable
from convoq.jobs import INTAKE, NORMAL, ReceiveMessage, RecordDeliveryStatus
from tests.api.conftest import Events
from tests.api.harness import (
    ACCOUNT,
    MESSAGE,
    TOKEN,
    ApiServer,
    Pairs,
    message,
    request,
    running,
    signed,
    status,
    status_webhook,
    webhook,
)


async def test_message_becomes_a_job_with_the_form_as_received(api: ApiServer) -> None:
    pairs = [*message("Tengo 2 preguntas: ¿abren hoy?"), ("NewParameter", ""), ("Blank", " x ")]
    await api.ask(webhook(pairs))
    (job,) = api.queue.jobs
    assert job.kind == "receive_message"
    assert ReceiveMessage.model_validate_json(job.payload) == ReceiveMessage(form=tuple(pairs))
    assert job.ordering_key == "in|twilio|whatsapp:+14155238886|whatsapp:+34600000001"
    assert job.dedup_key == f"twilio:inbound:{ACCOUNT}:{MESSAGE}"
    assert job.priority == INTAKE


async def test_message_is_answered_with_empty_twiml(api: ApiServer) -> None:
    reply = await api.ask(webhook(message()))
    assert (reply.status, reply.body) == (200, EMPTY_TWIML)
    assert reply.headers["content-type"] == "text/xml"
    assert reply.headers["content-length"] == str(len(EMPTY_TWIML))
    assert "transfer-encoding" not in reply.headers
    assert "set-cookie" not in reply.headers


async def test_the_version_is_not_told(api: ApiServer) -> None:
    for raw in (webhook(message()), request(b"", path="/"), request(b""), b"not http\r\n\r\n"):
        assert (await api.ask(raw)).headers["server"] == "convoq"


async def test_replayed_message_is_one_job_and_the_same_answer(api: ApiServer) -> None:
    first, second = await api.ask(webhook(message())), await api.ask(webhook(message()))
    assert (second.status, second.body) == (first.status, first.body)
    assert len(api.queue.jobs) == 1


async def test_message_from_the_fallback_url_is_the_same_message(api: ApiServer) -> None:
    await api.ask(webhook(message()))
    late = [*message(), ("ErrorCode", "11200"), ("ErrorUrl", "https://bot.example.com/twilio/inbound")]
    assert (await api.ask(webhook(late))).status == 200
    assert len(api.queue.jobs) == 1


async def test_the_job_of_a_status_does_not_say_whose_the_message_is(api: ApiServer) -> None:
    await api.ask(status_webhook([*status(), ("To", "whatsapp:+15551230001"), ("From", "+15550009999")]))
    assert "1555" not in api.queue.jobs[0].payload


async def test_status_becomes_a_job_with_our_reference(api: ApiServer) -> None:
    reply = await api.ask(status_webhook(status("failed", error="30003")), bodiless=True)
    (job,) = api.queue.jobs
    assert (reply.status, reply.body) == (204, b"")
    assert job.kind == "record_delivery_status"
    payload = RecordDeliveryStatus.model_validate_json(job.payload)
    kept = {"SmsSid": MESSAGE, "MessageStatus": "failed", "MessageSid": MESSAGE, "ErrorCode": "30003"}
    assert (payload.reference, dict(payload.form)) == ("out-7", kept)
    assert job.ordering_key == f"status|{MESSAGE}"
    assert job.dedup_key == f"twilio:status:{ACCOUNT}:{MESSAGE}:failed:30003"
    assert job.priority == NORMAL


async def test_status_without_a_reference_is_accepted(api: ApiServer) -> None:
    assert (await api.ask(webhook(status(), path=STATUS_PATH), bodiless=True)).status == 204
    assert RecordDeliveryStatus.model_validate_json(api.queue.jobs[0].payload).reference is None


async def test_each_status_of_a_message_is_a_job_of_its_own(api: ApiServer) -> None:
    for pairs in (status("sent"), status("delivered"), status("sent"), status("sent", error="30008")):
        await api.ask(status_webhook(pairs), bodiless=True)
    assert [job.dedup_key for job in api.queue.jobs] == [
        f"twilio:status:{ACCOUNT}:{MESSAGE}:sent",
        f"twilio:status:{ACCOUNT}:{MESSAGE}:delivered",
        f"twilio:status:{ACCOUNT}:{MESSAGE}:sent:30008",
    ]


async def test_signed_json_is_accepted(api: ApiServer) -> None:
    body = json.dumps(dict(message())).encode()
    path = f"{INBOUND_PATH}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    raw = request(body, path=path, signature=signed([], path), content_type="application/json")
    assert (await api.ask(raw)).status == 200
    assert ReceiveMessage.model_validate_json(api.queue.jobs[0].payload).form == tuple(message())


async def test_many_messages_on_one_connection(api: ApiServer) -> None:
    async with api.client() as client:
        for number in range(20):
            await client.send(webhook(message(sid=f"SM{number:032x}")))
            assert (await client.reply()).status == 200
    assert len(api.queue.jobs) == 20


async def test_message_that_cannot_be_written_is_left_to_twilio(api: ApiServer, events: Events) -> None:
    api.queue.error = DatabaseUnavailable("the disk is full")
    reply = await api.ask(webhook(message()))
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert [(event["event"], event["reason"]) for event in events] == [("webhook.refused", "the disk is full")]
    api.queue.error = None
    assert (await api.ask(webhook(message()))).status == 200


async def test_message_whose_write_hangs_is_left_to_twilio(events: Events) -> None:
    async with running(write_timeout=0.05) as api:
        api.queue.hangs = True
        assert (await api.ask(webhook(message()))).status == 503
        assert (await api.ask(status_webhook(status()))).status == 503
    assert [event["reason"] for event in events] == ["not written within 0.05 s"] * 2


async def test_nothing_is_accepted_below_the_watermark(api: ApiServer) -> None:
    api.readiness.accepting = False
    assert (await api.ask(webhook(message()))).status == 503
    assert api.queue.jobs == []


async def test_stranger_does_not_learn_that_the_disk_is_full(api: ApiServer) -> None:
    api.readiness.accepting = False
    assert (await api.ask(request(b"Body=x", signature="forged"))).status == 403


async def test_surprise_in_our_own_code_is_logged_once_and_left_to_twilio(
    api: ApiServer, events: Events, breaks_inside: None
) -> None:
    api.queue.error = ZeroDivisionError("a bug")
    assert (await api.ask(webhook(message()))).status == 503
    assert [event["event"] for event in events] == ["webhook.failed"]


async def test_healthz_answers_while_storage_does_not(api: ApiServer) -> None:
    api.readiness.problems = ["the disk is full"]
    reply = await api.ask(request(b"", path="/healthz", method="GET"))
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})


async def test_readyz_says_that_all_is_well(api: ApiServer) -> None:
    reply = await api.ask(request(b"", path="/readyz", method="GET"))
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok", "reasons": []})


async def test_readyz_names_the_reasons(api: ApiServer) -> None:
    api.readiness.problems = ["the disk is full"]
    reply = await api.ask(request(b"", path="/readyz", method="GET"))
    assert (reply.status, json.loads(reply.body)) == (503, {"status": "unready", "reasons": ["the disk is full"]})


async def test_readyz_looks_at_the_storage_once_for_many_askers(api: ApiServer) -> None:
    for _ in range(5):
        await api.ask(request(b"", path="/readyz", method="GET"))
    assert api.readiness.asked == 1


async def test_readyz_survives_a_broken_check(api: ApiServer, breaks_inside: None) -> None:
    api.readiness.error = OSError("disk I/O error at /secret/path")
    reply = await api.ask(request(b"", path="/readyz", method="GET"))
    assert reply.status == 503
    assert b"secret" not in reply.body


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
def test_payload_is_plain_json_of_the_form(pairs: Pairs) -> None:
    payload = ReceiveMessage(form=tuple(pairs)).job().payload
    assert json.loads(payload) == {"channel": "twilio", "form": [list(pair) for pair in pairs]}


@pytest.mark.parametrize("body", ["\0", "a\0b", "👩‍👩‍👧", "\u2028\u202e", "x" * 1600, "%F0%9F", "a&b=c;d+e", "\r\n"])
async def test_any_text_arrives_as_it_was_written(body: str, api: ApiServer) -> None:
    assert (await api.ask(webhook(message(body)))).status == 200
    form = dict(ReceiveMessage.model_validate_json(api.queue.jobs[0].payload).form)
    assert form["Body"] == body


@pytest.mark.parametrize("arrives_at", ["/bot/twilio/inbound", "/twilio/inbound"], ids=["kept", "stripped"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_public_url_may_have_a_path_that_the_proxy_keeps_or_strips(arrives_at: str, slash: str) -> None:
    async with running(public_url=f"https://example.com/bot{slash}") as api:
        signature = sign(TOKEN, "https://example.com/bot/twilio/inbound", message())
        raw = request(urlencode(message()).encode(), path=arrives_at, signature=signature)
        assert (await api.ask(raw)).status == 200
        assert len(api.queue.jobs) == 1


async def test_what_is_not_below_the_public_urls_path_is_not_served() -> None:
    async with running(public_url="https://example.com/bot") as api:
        assert (await api.ask(request(b"", path="/other/twilio/inbound"))).status == 404
