"""A serve that systemd started for its socket and that cannot start: 503 for a while, and no second start at once."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.activation import Activated, activation, command

pytestmark = pytest.mark.process

SETTINGS = {
    "CONVOQ_SERVER__PUBLIC_URL": "https://bot.example.com",
    "CONVOQ_TWILIO__ACCOUNT_SID": "AC" + "0" * 32,
    "CONVOQ_TWILIO__AUTH_TOKEN": "1" * 32,
    "CONVOQ_DATABASE__MIN_FREE_MB": "0",
}


@pytest.fixture
async def activated(tmp_path: Path) -> AsyncIterator[Activated]:
    async with activation(tmp_path) as activated:
        yield activated


def a_broken_config(directory: Path) -> None:
    (directory / "convoq.toml").write_text("[server\n")


def a_refused_database(directory: Path) -> None:
    (directory / "convoq.db").write_bytes(b"not a database, but a letter" * 200)


def a_directory_for_a_database(directory: Path) -> None:
    (directory / "convoq.db").mkdir()


def logged(activated: Activated) -> list[dict[str, Any]]:
    return [json.loads(line) for line in activated.output.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (a_broken_config, "convoq.toml"),
        (a_refused_database, "is not a sound database"),
        (a_directory_for_a_database, "is not a file"),
    ],
)
async def test_a_serve_that_cannot_start_answers_503_and_stays(
    spoil: Callable[[Path], None], cause: str, activated: Activated
) -> None:
    spoil(activated.directory)
    await activated.start(*command("serve"), **SETTINGS)

    answers = [await activated.ask(path) for path in ("/twilio/inbound", "/healthz", "/readyz", "/elsewhere")]

    assert {answer.splitlines()[0] for answer in answers} == {"HTTP/1.1 503 Service Unavailable"}
    assert all("\r\nRetry-After: " in answer for answer in answers)
    assert not activated.ended
    (line,) = logged(activated)
    assert line["event"] == "serve.unstarted"
    assert (line["exit_code"], line["answers"], line["seconds"]) == (78, 503, 30.0)
    assert cause in line["cause"]
    assert "\n" not in line["cause"]
    assert (await activated.status()).startswith("STATUS=cannot start, answers 503: ")
    assert await activated.stop() == 78
    assert "READY=1" not in activated.states


async def test_a_command_line_that_is_wrong_is_answered_503_too(activated: Activated) -> None:
    await activated.start(*command("serve", "--prot", "80"), **SETTINGS)
    assert (await activated.ask()).startswith("HTTP/1.1 503 ")
    assert await activated.stop() == 2


HELD = """
from convoq.daemon import unstarted
unstarted.answer_503("the volume is away", 78, unstarted.HoldTimes(refused=0.5))
raise SystemExit(78)
"""


async def test_after_a_while_it_ends_with_its_code_and_the_socket_goes_on(activated: Activated) -> None:
    begun = time.monotonic()
    await activated.start("-c", HELD)
    assert (await activated.ask()).startswith("HTTP/1.1 503 ")
    assert await activated.end() == 78
    assert time.monotonic() - begun >= 0.5
    with socket.create_connection(activated.listener.getsockname(), timeout=5):
        activated.listener.settimeout(5)
        activated.listener.accept()[0].close()


async def test_a_serve_that_was_ready_and_stops_ends_at_once(activated: Activated) -> None:
    await activated.start(*command("serve"), WATCHDOG_USEC="200000", **SETTINGS)
    assert (await activated.status()).startswith("STATUS=listening on ")
    assert "READY=1" in activated.states
    (activated.directory / "convoq.db").rename(activated.directory / "away.db")
    assert await activated.end() == 78
    assert "serve.unstarted" not in [line["event"] for line in logged(activated)]
