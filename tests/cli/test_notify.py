"""`convoq notify`, and what status and doctor say of who is told."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from convoq.conversations.notifications import Notification, Notifications, NotifyTarget
from convoq.db import Database
from convoq.notify.signing import signature
from convoq.settings.notify import Event, signing_key
from tests.cli.doctor.harness import findings, whole
from tests.cli.scenes import Place
from tests.clock import ManualClock
from tests.notify.endpoint import SECRET, Endpoint, open_endpoint, saying

GONE = Notification(1, "msg_1", "job.dead", 0, 0, {}, None)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """In a thread: commands have a loop of their own."""
    loop, ready, opened = asyncio.new_event_loop(), threading.Event(), []
    stop = asyncio.Event()

    async def serve() -> None:
        async with open_endpoint() as endpoint:
            opened.append(endpoint)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield opened[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    loop.close()


def configure(place: Place, endpoint: Endpoint) -> None:
    place.configure(
        whole() + f"[notify]\nurl = '{endpoint.url}'\nsecret = '{SECRET}'\nallow_private = true\ntimeout = 5\n"
    )


def test_a_test_event_is_sent_and_the_answer_told(
    place: Place, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(place, endpoint)
    endpoint.script = [saying(200, "thanks")]
    assert place.run("notify", "test") == 0
    assert capsys.readouterr().out == "webhook: 127.0.0.1 took it: HTTP 200: thanks\n"
    assert [one.type for one in endpoint.taken] == ["convoq.test"]


def test_one_that_does_not_take_it_ends_with_1_and_its_words(
    place: Place, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(place, endpoint)
    endpoint.script = [saying(403, "who are you?")]
    assert place.run("notify", "test") == 1
    assert capsys.readouterr().out == "webhook: 127.0.0.1 refused it with HTTP 403: who are you?\n"


def test_without_a_target_it_says_what_to_set(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    assert place.run("notify", "test") == 1
    assert "nobody is to be told: set notify.url or notify.smtp_url" in capsys.readouterr().err


def test_a_secret_is_new_each_time_and_one_that_can_be_used(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert place.run("notify", "secret") == 0
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert len(signing_key(first)) == 32


def test_a_target_that_takes_nothing_is_a_problem_of_status_and_doctor(
    place: Place, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(place, endpoint)

    async def fail(database: Database) -> None:
        told = Notifications(database, ManualClock())
        await told.set_targets([NotifyTarget("webhook", "f", tuple(Event))])
        await told.mark_failed(GONE, "webhook", "hooks.example.com refused it with HTTP 500", None)

    place.prepare(fail)
    place.run("status")
    out = capsys.readouterr().out
    assert "webhook has taken nothing since" in out
    assert "hooks.example.com refused it with HTTP 500: convoq notify test" in out
    finding = findings(place, capsys)["notify webhook"]
    assert (finding["level"], finding["fix"]) == ("warn", "convoq notify test")


def test_one_that_is_gone_is_told_again_once_it_takes_a_test(
    place: Place, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(place, endpoint)

    async def leave(database: Database) -> None:
        told = Notifications(database, ManualClock())
        await told.set_targets([NotifyTarget("webhook", "f", tuple(Event))])
        await told.switch_off("webhook", "127.0.0.1 refused it with HTTP 410")

    place.prepare(leave)
    place.run("status")
    assert "webhook is told nothing since" in capsys.readouterr().out
    place.run("notify", "test")
    assert "webhook: it had been switched off, and is told again" in capsys.readouterr().out
    assert place.execute("SELECT gone_at FROM notify_targets") == [(None,)]


def test_the_doctor_says_who_would_be_told_and_asks_nobody(
    place: Place, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(place, endpoint)
    assert findings(place, capsys)["notify"]["detail"] == "webhook 127.0.0.1: not asked now. convoq notify test asks"
    assert endpoint.tried == []


def test_the_code_in_the_docs_knows_a_genuine_event_from_another() -> None:
    text = (Path(__file__).parents[2] / "docs" / "notify.md").read_text()
    found = re.search(r"```python\n(import base64.*?)```", text, re.DOTALL)
    assert found is not None
    scope: dict[str, object] = {}
    exec(found[1], scope)
    now = int(__import__("time").time())
    headers = {
        "webhook-id": "msg_1", "webhook-timestamp": str(now),
        "webhook-signature": signature(signing_key(SECRET), "msg_1", now, b"{}"),
    }  # fmt: skip
    is_genuine = scope["is_genuine"]
    assert callable(is_genuine)
    assert is_genuine(SECRET, headers, b"{}")
    assert not is_genuine(SECRET, headers, b'{"forged": 1}')
    assert not is_genuine(SECRET, headers | {"webhook-timestamp": str(now - 400)}, b"{}")
