"""The queries that no command shows by itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from convoq.conversations.queries import Reading
from convoq.conversations.search import ConversationFilter
from convoq.conversations.states import Status
from tests.cli.scenes import ANA, OURS, Place, receive


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty database."""
    place = Place(tmp_path)
    place.create_database()
    return place


def test_a_persons_conversations_are_found_by_their_exact_address(place: Place) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi"))
    place.execute("UPDATE conversations SET status = 'closed', closed_reason = 'expired', closed_at = 1")
    place.prepare(lambda database: receive(database, "Back again", sid=2))

    def found(address: str, ours: str | None = None) -> list[int]:
        return [one.id for one in place.prepare(lambda db: Reading(db).of_person(address, our_address=ours))]

    assert found(ANA) == [2, 1]
    assert found(ANA, OURS) == [2, 1]
    assert found(ANA, "whatsapp:+1") == []
    assert found(ANA[:-1]) == []


def test_a_new_conversation_names_the_one_before(place: Place) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi"))
    place.execute("UPDATE conversations SET status = 'closed', closed_reason = 'expired', closed_at = 1")
    place.prepare(lambda database: receive(database, "Back again", sid=2))

    transcript = place.prepare(lambda database: Reading(database).transcript(2))

    assert transcript is not None
    assert transcript.previous_id == 1


def test_the_count_is_of_what_the_list_shows(place: Place) -> None:
    for sid in range(3):
        place.prepare(partial(receive, text="Hello", sid=sid, address=f"whatsapp:+3460000000{sid}"))
    wanted = ConversationFilter(statuses=(Status.ACTIVE,), text="Hello", waiting=True)

    assert place.prepare(lambda database: Reading(database).count(wanted, most=10)) == 3
    assert len(place.prepare(lambda database: Reading(database).find(wanted))) == 3
