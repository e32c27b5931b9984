"""Handlers of the user's own: found by name, run one job at a time, able to enqueue and to send."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convoq.errors import ConfigError
from convoq.handlers.custom import load_custom
from convoq.jobs import NewJob, raw_job
from convoq.queue.base import JobState
from tests.handlers.house import ANA, ANA_SMS, OUR_SMS, House

MODULE = """
import functools

from convoq import Snooze

seen = []

async def note(job):
    seen.append((job.id, job.kind, job.attempt, job.payload))

async def fail_at_two(job):
    seen.append(job.payload["n"])
    if job.payload["n"] == 2 and job.attempt == 1:
        raise RuntimeError("two")

async def fan_out(job):
    await job.enqueue("shop.note", {"from": job.id}, dedup_key=f"after {job.id}")

async def greet(job):
    await job.send(sender=job.payload["sender"], to=job.payload["to"], body="Good morning")
    if job.attempt == 1:
        raise RuntimeError("after the send")

async def greet_half(job):
    await job.send(sender=job.payload["sender"], to=job.payload["to"], body="Good \\ud83d\\x00morning \\ud83d\\ude00")

async def greet_from_both(job):
    for sender in job.payload["senders"]:
        await job.send(sender=sender, to=job.payload["to"], body="Good morning")

async def not_yet(job):
    raise Snooze(30)

def plain(job): ...

class Base:
    async def __call__(self, job):
        seen.append("called")

class Derived(Base): ...

class Namespace:
    handler = Derived()

handler, derived, partial = Base(), Derived(), functools.partial(note)
number = 3
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a convoq.toml with a module `shop` beside it."""
    (tmp_path / "shop.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("shop", None)


def seen() -> list[object]:
    found: list[object] = sys.modules["shop"].seen
    return found


class Nobody:
    async def enqueue(self, job: NewJob) -> None: ...


def load(handlers: dict[str, str], directory: Path) -> object:
    return load_custom(handlers, Nobody(), base_dir=directory)  # type: ignore[arg-type] # nothing is enqueued


def problem(target: str, directory: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load({"shop.k": target}, directory)
    assert caught.value.exit_code == 78
    return str(caught.value)


# --- Loading


@pytest.mark.parametrize("attribute", ["note", "handler", "derived", "partial", "Namespace.handler"])
def test_a_module_beside_the_configuration_is_found(shop: Path, attribute: str) -> None:
    assert load({"shop.k": f"shop:{attribute}"}, shop)


def test_a_module_that_is_missing_is_named(shop: Path) -> None:
    assert problem("nowhere:note", shop) == (
        "handlers.shop.k: \"nowhere:note\" cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
    )


def test_a_module_that_fails_is_named_with_its_error(shop: Path) -> None:
    (shop / "broken_shop.py").write_text("raise ValueError('no such table')")
    assert "cannot be imported: ValueError: no such table" in problem("broken_shop:note", shop)


def test_a_module_that_exits_is_named(shop: Path) -> None:
    (shop / "exiting_shop.py").write_text("import sys; sys.exit('usage: shop')")
    assert "cannot be imported: SystemExit: usage: shop" in problem("exiting_shop:note", shop)


@pytest.mark.parametrize("attribute", ["plain", "number", "Base", "Namespace"])
def test_what_is_not_async_is_refused(shop: Path, attribute: str) -> None:
    assert problem(f"shop:{attribute}", shop) == f'handlers.shop.k: "shop:{attribute}" is not an async function'


@pytest.mark.parametrize("attribute", ["missing", "note.missing"])
def test_what_the_module_does_not_have_is_named(shop: Path, attribute: str) -> None:
    expected = f'handlers.shop.k: "shop:{attribute}": module "shop" has no attribute "{attribute}"'
    assert problem(f"shop:{attribute}", shop) == expected


def test_every_problem_has_a_line_of_its_own(shop: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"a": "shop:plain", "b": "shop:note", "c": "nowhere:x"}, shop)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["handlers.a", "handlers.c"]


# --- Running


async def use(house: House, directory: Path, **handlers: str) -> None:
    named = {f"shop.{name}": f"shop:{target}" for name, target in handlers.items()}
    house.handlers |= load_custom(named, house.queue, base_dir=directory)


async def put(house: House, name: str, /, *, key: str | None = None, **payload: object) -> str:
    return (await house.queue.enqueue(raw_job(f"shop.{name}", payload, ordering_key=key))).job_id


async def test_a_job_is_handed_over_as_it_was_enqueued(house: House, shop: Path) -> None:
    await use(house, shop, note="note")
    job_id = await put(house, "note", order=7, name="Ana", nested={"a": [1, None]})
    await house.settle()
    assert seen() == [(job_id, "shop.note", 1, {"order": 7, "name": "Ana", "nested": {"a": [1, None]}})]
    assert (await house.job(job_id)).state is JobState.DONE


async def test_jobs_of_one_key_run_one_by_one_in_order(house: House, shop: Path) -> None:
    await use(house, shop, note="note")
    ids = [await put(house, "note", key="order 7", n=n) for n in range(5)]
    await house.settle()
    assert [entry[0] for entry in seen()] == ids  # type: ignore[index] # each is a tuple


async def test_what_was_done_before_a_failure_is_not_done_again(house: House, shop: Path) -> None:
    await use(house, shop, note="fail_at_two")
    ids = [await put(house, "note", key="order 7", n=n) for n in (1, 2, 3)]
    await house.settle()
    assert seen() == [1, 2, 2, 3]
    assert [(await house.job(job_id)).attempt for job_id in ids] == [1, 2, 1]


async def test_a_handler_may_snooze(house: House, shop: Path) -> None:
    await use(house, shop, note="not_yet")
    job_id = await put(house, "note")
    await house.step()
    assert (await house.due_in(), (await house.job(job_id)).attempt) == (30.0, 0)


async def test_a_handler_may_enqueue(house: House, shop: Path) -> None:
    await use(house, shop, fan="fan_out", note="note")
    first = await put(house, "fan")
    await house.settle()
    assert [entry[3] for entry in seen()] == [{"from": first}]  # type: ignore[index] # each is a tuple


async def test_a_handler_sends_once_however_often_it_runs(house: House, shop: Path) -> None:
    await use(house, shop, greet="greet")
    await put(house, "greet", sender=OUR_SMS, to=ANA_SMS)
    await house.settle()
    assert house.sent == ["Good morning"]


async def test_what_a_handler_sends_is_repaired_where_it_cannot_be_encoded(house: House, shop: Path) -> None:
    await use(house, shop, greet="greet_half")
    await put(house, "greet", sender=OUR_SMS, to=ANA_SMS)
    await house.settle()
    assert house.sent == ["Good morning 😀"]


async def test_the_same_text_from_two_of_our_numbers_is_two_messages(house: House, shop: Path) -> None:
    await use(house, shop, greet="greet_from_both")
    await put(house, "greet", senders=[OUR_SMS, "+15550008888"], to=ANA_SMS)
    await house.settle()
    assert [message.from_ for message in house.twilio.messages] == [OUR_SMS, "+15550008888"]


async def test_what_a_handler_sends_keeps_to_the_rules(house: House, shop: Path) -> None:
    await use(house, shop, greet="greet")
    await put(house, "greet", sender="whatsapp:+15550009999", to=ANA)
    await house.settle()
    assert (house.sent, await house.outbox_states()) == ([], ["failed"])
