"""A record holds neither secrets nor phone numbers, and only what JSON can hold."""

from __future__ import annotations

import json

import pytest
import structlog

from convoq.logs import log, looks_secret
from tests.logs.conftest import one, written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no +15551230001.", "no +1555***0001."),
        ("twilio|whatsapp:+14155238886|whatsapp:+15551230001", "twilio|whatsapp:+1415***8886|whatsapp:+1555***0001"),
        ("To=whatsapp%3A%2B15551230001&x=1", "To=whatsapp%3A%2B15***0001&x=1"),
        ("call +1 (555) 123-0001 now", "call +1 (5***0001 now"),
        ("Authorization: Bearer abcdef123456", "Authorization: ***"),
        ("Incorrect API key: sk-proj-abc_123", "Incorrect API key: ***"),
        ("at 1763800000000 in 7 +02:00", "at 1763800000000 in 7 +02:00"),
        ("SM0123456789abcdef0123456789abcdef", "SM0123456789abcdef0123456789abcdef"),
    ],
)
def test_addresses_and_bearers_are_masked_wherever_they_stand(text: str, expected: str) -> None:
    stream = written()
    structlog.get_logger().info("a.b", text=text, nested={"list": [text]})
    record = one(stream)
    assert record["text"] == expected
    assert record["nested"]["list"] == [expected]


def test_phone_numbers_in_an_exception_are_masked() -> None:
    stream = written()
    structlog.get_logger().error("a.b", exc_info=ValueError("no such person: whatsapp:+15551230001"))
    assert "+15551230001" not in stream.getvalue()


def test_a_key_is_judged_anew_where_it_differs_only_in_case() -> None:
    stream = written()
    for key in ("passwort", "password", "PassWord", "passw0rd", "paſſword"):
        log.info("a.b", **{key: "canary"})
    shown = [list(json.loads(line))[-1] for line in stream.getvalue().splitlines()]
    assert shown == ["passwort", "role", "role", "passw0rd", "role"]


SECRET_KEYS = [
    "auth_token",
    "AUTHTOKEN",
    "openai_api_key",
    "password",
    "a_secret",
    "authorization",
    "X-Twilio-Signature",
]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_what_has_a_secrets_name_is_dropped(key: str) -> None:
    stream = written()
    structlog.get_logger().info("a.b", **{key: "canary", "nested": {key: ["canary"]}})
    assert looks_secret(key)
    assert "canary" not in stream.getvalue()
    assert one(stream)["nested"] == {}


@pytest.mark.parametrize("key", ["input_tokens", "api_key_sid", "ordering_key", "message_sid"])
def test_what_only_sounds_like_a_secret_stays(key: str) -> None:
    assert not looks_secret(key)


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_what_json_cannot_hold_is_still_logged() -> None:
    stream = written()
    loop: list[object] = []
    loop.append(loop)
    structlog.get_logger().info("a.b", mute=Mute(), loop=loop, nan=float("nan"), keys={(1, 2): 3}, many=set(range(500)))
    record = one(stream)
    assert record["mute"] == "<Mute that fails to say what it is: RuntimeError>"
    assert record["nan"] == "nan"
    assert record["keys"] == {"(1, 2)": 3}
    assert len(record["many"]) == 100


def test_a_long_text_is_cut() -> None:
    stream = written()
    structlog.get_logger().info("a.b", text="x" * 100_000)
    assert one(stream)["text"].endswith("... (83616 more characters)")
