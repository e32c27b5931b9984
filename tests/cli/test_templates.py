"""`convoq templates` and `convoq send --template`."""

from __future__ import annotations

import asyncio
import json

import pytest

from convoq.clock import WallClock
from convoq.conversations.templates import Template, Templates
from convoq.loopback.content import Content
from convoq.loopback.twilio import ACCOUNT_SID, AUTH_TOKEN, LoopbackTwilio
from tests.cli.scenes import ANA, OURS, Place, receive

ORDER = Template("HX1", "order", "en", "twilio/text", "Hello {{1}}", ("1",), "utility", "approved", "")


def know(place: Place, *templates: Template) -> None:
    place.prepare(lambda database: Templates(database, WallClock()).replace_all(templates))


def use(place: Place, url: str, more: str = "") -> None:
    twilio = f'account_sid = "{ACCOUNT_SID}"\nauth_token = "{AUTH_TOKEN}"\napi_base_url = "{url}"'
    place.configure(f"[twilio]\n{twilio}\n{more}")


def rows(place: Place) -> list[tuple[str, ...]]:
    return place.execute("SELECT sid, name, language, body, approval FROM templates")


async def test_sync_takes_what_twilio_has_and_list_shows_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    async with LoopbackTwilio() as twilio:
        use(place, twilio.url)
        twilio.contents.all = [
            Content(sid="HX1", name="order", body="Hello {{1}}"),
            Content(sid="HX2", name="late", body="Sorry", approval="rejected", reason="ABUSIVE", language="pt"),
        ]
        assert await asyncio.to_thread(place.run, "templates", "sync") == 0
        assert capsys.readouterr().err == "2 templates at Twilio, 1 approved by WhatsApp\n"
        twilio.contents.all = twilio.contents.all[:1]
        assert await asyncio.to_thread(place.run, "templates", "sync", "--json") == 0
        assert json.loads(capsys.readouterr().out) == {
            "schema_version": 1, "templates": 1, "approved": 1, "missing": [],
        }  # fmt: skip
    assert await asyncio.to_thread(place.run, "templates", "list") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "LANGUAGE", "VARIABLES", "WHATSAPP", "TEXT"]
    assert row.split() == ["order", "en", "1", "approved", "Hello", "{{1}}"]


def test_what_was_known_stays_while_the_content_api_is_down(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    know(place, ORDER)
    use(place, "http://127.0.0.1:9")
    assert place.run("templates", "sync") == 1
    assert "Twilio could not be reached" in capsys.readouterr().err
    assert place.execute("SELECT sid FROM templates") == [("HX1",)]


SID = "HX" + 31 * "0" + "1"
OWN = f"[[templates]]\nname = 'ready'\nsid = '{SID}'\nlanguage = 'en'\ntext = 'Ready, {{{{1}}}}!'\n"


def test_a_template_of_the_settings_is_sent_also_while_the_content_api_is_down(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    use(place, "http://127.0.0.1:9", OWN)
    assert place.run("templates", "sync") == 1
    assert "Twilio could not be reached" in capsys.readouterr().err
    assert place.run("templates", "list") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["ready", "en", "1", "declared", "Ready,", "{{1}}!"]
    assert place.run("send", ANA, "--template", "ready", "--var", "1=Ana", "--from", OURS) == 0
    assert place.execute("SELECT body, template_sid FROM outbox") == [("Ready, Ana!", SID)]


async def test_what_twilio_says_of_a_template_of_the_settings_holds_under_its_name_there(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    async with LoopbackTwilio() as twilio:
        use(place, twilio.url, OWN)
        twilio.contents.all = [Content(sid=SID, name="order", body="Hello {{1}}", approval="paused", language="pt")]
        assert await asyncio.to_thread(place.run, "templates", "sync") == 0
        assert await asyncio.to_thread(rows, place) == [(SID, "ready", "pt", "Hello {{1}}", "paused")]
        twilio.contents.all = []
        assert await asyncio.to_thread(place.run, "templates", "sync") == 1
        assert f"ready: Twilio has no {SID}: correct it in [[templates]]" in capsys.readouterr().err
    assert await asyncio.to_thread(rows, place) == []


def test_a_template_is_sent_where_a_text_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("send", ANA, "Hello", "--from", OURS) == 1
    assert "none is on record: convoq templates sync asks Twilio" in capsys.readouterr().err
    know(place, ORDER)
    assert place.run("send", ANA, "Hello", "--from", OURS) == 1
    assert "(convoq send --template: order): the person's next message opens it" in capsys.readouterr().err
    assert place.run("send", ANA, "--template", "order", "--var", "1=Ana", "--from", OURS) == 0
    assert place.execute("SELECT body, template_sid, template_variables FROM outbox") == [
        ("Hello Ana", "HX1", '{"1": "Ana"}')
    ]


def test_a_reply_may_be_a_template_too(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello"))
    place.execute("UPDATE threads SET last_inbound_at = 1, last_inbound_wall = 1")
    know(place, ORDER)
    assert place.run("conversations", "reply", "1", "Hello") == 1
    assert "convoq send --template: order" in capsys.readouterr().err
    assert place.run("conversations", "reply", "1", "--template", "order", "--var", "1=Ana") == 0
    assert place.execute("SELECT body, template_sid FROM outbox") == [("Hello Ana", "HX1")]
    assert place.run("conversations", "reply", "1") == 2


def test_the_refusal_of_a_template_is_told_to_programs(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    know(place, ORDER)
    assert place.run("send", ANA, "--template", "order", "--from", OURS, "--json") == 1
    assert json.loads(capsys.readouterr().out)["refused"] == "template"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say either a text or --template NAME"),
        (("Hello", "--template", "order"), "say either a text or --template NAME"),
        (("Hello", "--var", "1=Ana"), "--var and --language go with --template"),
        (("--template", "order", "--var", "Ana"), "'Ana' is no NAME=VALUE, such as 1=Ana"),
        (("--template", "order", "--var", "1=a", "--var", "1=b"), "each variable has one value"),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    arguments: tuple[str, ...], said: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("send", ANA, *arguments, "--from", OURS) == 2
    assert said in capsys.readouterr().err
