"""What begins late in its lease may find the next worker at work, so it takes no token."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handlers.house import House


async def tokens(house: House) -> list[tuple[Any, ...]]:
    return await house.rows("SELECT token FROM threads")


@pytest.mark.parametrize("ours", [False, True], ids=["a turn", "a message of ours"])
async def test_what_has_less_than_a_third_of_its_lease_left_begins_in_the_next_claim(house: House, ours: bool) -> None:
    await house.hear("hello")
    await house.settle()
    await (house.send("a notice") if ours else house.hear_at_once("again"))
    before = await tokens(house)
    [claim] = await house.claim(1)
    await house.handle(claim, lease_left=0.32)
    assert (await tokens(house), house.sent, await house.due_in()) == (before, ["re: hello"], 1.0)
    await house.settle()
    assert house.sent == ["re: hello", "a notice" if ours else "re: again"]


@pytest.mark.parametrize("ours", [False, True], ids=["a turn", "a message of ours"])
async def test_what_has_more_left_begins(house: House, ours: bool) -> None:
    await house.hear("hello")
    await house.settle()
    await (house.send("a notice") if ours else house.hear_at_once("again"))
    [claim] = await house.claim(1)
    await house.handle(claim, lease_left=0.4)
    assert house.sent == ["re: hello", "a notice" if ours else "re: again"]
