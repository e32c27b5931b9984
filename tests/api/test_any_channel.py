"""The app serves whatever keeps the Webhook protocol."""

from __future__ import annotations

from convoq.channels.base import (
    VerifiedWebhook,
    Webhook,
    WebhookAnswer,
    WebhookForged,
    WebhookRefused,
    WebhookRequest,
)
from convoq.jobs import NewJob
from tests.api.conftest import Events
from tests.api.harness import request, running


class Pigeon:
    """A webhook of JSON that is signed with a header of its own."""

    path = "/pigeon"
    media_types = ("application/json",)
    answer = WebhookAnswer(status=202, body=b"coo", content_type="text/plain")

    def verify(self, request: WebhookRequest) -> VerifiedWebhook:
        if request.headers.get("x-pigeon") != "ring":
            raise WebhookForged("ringless", "no pigeon of ours")
        if request.body == b"[]":
            raise KeyError("a bug of the channel's")
        if request.body == b"{}":
            raise WebhookRefused(400, "the letter is missing")
        return VerifiedWebhook(NewJob(kind="letter", payload=request.body.decode()), {"pigeon": request.raw_path})


PIGEON: Webhook = Pigeon()
RING = (b"X-Pigeon: ring",)


def letter(body: bytes, headers: tuple[bytes, ...] = RING, content_type: str = "application/json") -> bytes:
    return request(body, path="/pigeon?x=1", headers=headers, content_type=content_type)


async def test_a_channels_own_body_becomes_a_job_and_has_its_own_answer() -> None:
    async with running(webhooks=[PIGEON]) as api:
        reply = await api.ask(letter(b'{"text":"hi"}'))
        assert (reply.status, reply.body) == (202, b"coo")
        assert [(job.kind, job.payload) for job in api.queue.jobs] == [("letter", '{"text":"hi"}')]


async def test_a_channels_refusals_are_answered_and_logged(events: Events) -> None:
    async with running(webhooks=[PIGEON]) as api:
        assert (await api.ask(letter(b"{}", headers=()))).body == b"no pigeon of ours\n"
        assert (await api.ask(letter(b"{}"))).body == b"the letter is missing\n"
        assert (await api.ask(letter(b"x=1", content_type="text/plain"))).body == b"send application/json\n"
    logged = [(event["event"], event.get("verdict"), event.get("status")) for event in events]
    assert logged == [
        ("webhook.forged", "ringless", None),
        ("webhook.malformed", None, 400),
        ("webhook.malformed", None, 415),
    ]


async def test_only_the_channels_that_were_handed_in_are_served() -> None:
    async with running(webhooks=[PIGEON]) as api:
        assert (await api.ask(request(b"", path="/twilio/inbound"))).status == 404


async def test_a_bug_in_a_channel_leaves_the_message_to_be_sent_again(events: Events, breaks_inside: None) -> None:
    async with running(webhooks=[PIGEON]) as api:
        reply = await api.ask(letter(b"[]"))
        assert (reply.status, reply.body) == (503, b"not stored, try again\n")
    assert [event["event"] for event in events] == ["webhook.failed"]
