"""The doctor when nobody outside answers: every peer accepts the connection and says nothing."""

from __future__ import annotations

import asyncio
import time

from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.loopback.twilio import ACCOUNT_SID, LoopbackTwilio
from convoq.monitoring.findings import Level
from tests.cli.doctor.harness import NUMBER, Silence, examined, silence, whole
from tests.cli.scenes import Place

LONGEST_SECONDS = 12.0
ORDER = ["port", "proxy", "public URL", "signature", "Twilio", "model"]


def all_silent(place: Place, silent: Silence) -> None:
    url = f"http://127.0.0.1:{silent.port}"
    place.configure(whole(silent.port, public_url=url, twilio=url, model="test-model", ai=f'base_url = "{url}/v1"'))


async def test_all_peers_are_asked_side_by_side(bare: Place) -> None:
    async with silence(wanted=5) as silent:
        all_silent(bare, silent)
        examining = asyncio.create_task(examined(bare))
        await silent.is_asked.wait()
        assert not examining.done()
        examining.cancel()
        await asyncio.wait([examining])

    assert sorted(silent.asked) == [
        f"GET /2010-04-01/Accounts/{ACCOUNT_SID}.json HTTP/1.1".encode(),
        b"GET /healthz HTTP/1.1",
        b"GET /healthz HTTP/1.1",
        b"POST /twilio/inbound HTTP/1.1",
        b"POST /v1/chat/completions HTTP/1.1",
    ]


async def test_peers_that_never_answer_are_named_in_order_within_twelve_seconds(bare: Place) -> None:
    async with silence() as silent:
        all_silent(bare, silent)
        begun = time.monotonic()
        found = await examined(bare)
        took = time.monotonic() - begun

    assert list(found) == ORDER
    assert {name for name, finding in found.items() if finding.level is Level.FAIL} == {*ORDER} - {"proxy", "signature"}
    assert found["model"].detail == "test-model: no answer within 6 s"
    assert took < LONGEST_SECONDS


async def test_our_numbers_are_asked_side_by_side_and_told_in_order(bare: Place) -> None:
    numbers = [f"+1555123000{digit}" for digit in range(1, 6)]
    more = "".join(f'[[numbers]]\naddress = "{number}"\npersona = "default"\n' for number in numbers)
    async with LoopbackTwilio() as twilio:
        bare.configure(whole(public_url="http://127.0.0.1:9", twilio=twilio.url) + more)
        found = await examined(bare)

    assert [name for name in found if name.startswith("+")] == [NUMBER, *numbers]


async def test_a_model_that_is_only_slow_is_no_failure(bare: Place) -> None:
    async with LoopbackModel() as model:
        model.mode = ModelFault.HANG
        bare.configure(whole(twilio="http://127.0.0.1:9", model="test-model", ai=f'base_url = "{model.base_url}"'))
        found = await examined(bare)

    assert found["model"].level is Level.WARN
    assert "though its server is up" in found["model"].detail
