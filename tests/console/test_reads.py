"""What is read over the API is what the commands print, and a viewer sees no number in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convoq.conversations.persons import PersonOnRecord
from convoq.conversations.queries import Reading
from convoq.conversations.search import ConversationFilter
from convoq.conversations.templates import Template, Templates
from convoq.monitoring.act_documents import person_document
from convoq.monitoring.documents import conversations_document, jobs_document, transcript_document
from convoq.queue.base import JobFilter
from convoq.text import iso_time
from tests.console.site import Api, acts
from tests.handlers.house import ANA, BEN, OURS, House

DIGITS = ("15551230001", "15551230002", "15550009999")


@pytest.fixture
async def chats(api: Api, house: House) -> Api:
    """Ana has asked and was answered; Ben waits, and his text holds a number."""
    await house.hear("are you open?")
    await house.settle()
    await house.hear("call me: +15551230002", sender=BEN)
    await house.take_in()
    [turn] = await house.claim(10)
    await house.engine.bury(turn, turn.jobs, error=f"RuntimeError: no way to reach {BEN}")
    await acts(house.database, "Marta").note(2, "her number is +15551230002")
    return api


PATHS = (
    "/status", "/conversations", "/conversations/2", "/conversations/2/messages", "/conversations/2/transitions",
    "/contacts/2", "/jobs", "/jobs/2", "/templates", "/problems", "/figures",
    "/messages/3/turn", "/numbers", "/processes", "/schedules",
)  # fmt: skip


async def test_a_viewer_reads_everything_without_a_number(chats: Api) -> None:
    for path in PATHS:
        seen, shown = await chats.get(path), await chats.get(path, by="screen")
        assert (path, seen.status, shown.status) == (path, 200, 200)
        assert not any(digits in json.dumps(shown.document) for digits in DIGITS), path
        assert shown.document.keys() == seen.document.keys()


async def test_the_audit_trail_is_for_admins(chats: Api) -> None:
    for by in ("screen", "marta"):
        assert (await chats.get("/audit", by=by)).problem == (403, "role")
    reply = await chats.get("/audit?who=Marta&limit=1", by="ben")
    [act] = reply.document["acts"]
    assert (act["act"], act["conversation_id"], act["way"], reply.document["more"]) == ("note", 2, None, False)


async def test_conversations_are_what_the_command_prints(chats: Api, house: House) -> None:
    reading = Reading(house.database)
    found = await reading.find(ConversationFilter())
    expected = conversations_document(found, more=False, full=True)["conversations"]
    reply = await chats.get("/conversations")
    assert reply.document == {"conversations": expected, "next": None, "more": False}
    transcript = await reading.transcript(1)
    assert transcript is not None
    whole = transcript_document(transcript, {})
    one = (await chats.get("/conversations/1")).document
    assert one == {name: whole[name] for name in ("conversation", "previous_id", "message_count", "notes")}
    assert (await chats.get("/conversations/1/messages")).document["messages"] == whole["messages"]
    assert (await chats.get("/conversations/1/transitions")).document == {"transitions": whole["transitions"]}
    conversations = await reading.of_person(ANA)
    person = PersonOnRecord(conversations[0].contact, (), conversations)
    expected = person_document(person)
    assert (await chats.get(f"/contacts/{conversations[0].contact.id}")).document == expected


async def test_jobs_are_what_the_command_prints(chats: Api, house: House) -> None:
    found = await house.engine.list(JobFilter())
    expected = jobs_document(found, more=False, full=True)["jobs"]
    assert (await chats.get("/jobs")).document == {"jobs": expected, "next": None, "more": False}
    dead = (await chats.get("/jobs?state=dead&state=cancelled&kind=process_ai_response")).document["jobs"]
    assert [one["standing"] for one in dead] == ["dead"]
    one = (await chats.get(f"/jobs/{dead[0]['id']}")).document
    assert (one["payload"], "RuntimeError" in one["error"]) == ({"thread": 2}, True)


async def test_the_owners_version_stands_in_the_etag(chats: Api, house: House) -> None:
    assert (await chats.get("/conversations/1")).headers["ETag"] == '"0"'
    await acts(house.database, "Marta").take_over(1)
    assert (await chats.get("/conversations/1")).headers["ETag"] == '"1"'


async def test_filters_choose(chats: Api) -> None:
    async def ids(query: str) -> list[int]:
        return [one["id"] for one in (await chats.get(f"/conversations?{query}")).document["conversations"]]

    assert await ids("failed=true") == [2]
    assert await ids("text=open") == [1]
    assert await ids("address=1230002") == [2]
    assert await ids("owner=human&owner=waiting") == []
    assert sorted(await ids("status=active&owner=ai")) == [1, 2]
    assert await ids("since=2100-01-01T00:00:00Z") == []
    assert await ids("waiting=true") == []


@pytest.fixture
async def inbox(api: Api, house: House) -> Api:
    """One conversation of each sort, of which the person's number ends so: 1 is Marta's, 2 Ben's, 3 and 4 wait for a
    person, 4 for longer, 5 and 6 for the AI, 6 for longer, 7 is closed."""
    for number in (6, 4, 3, 5, 1, 2, 7):
        await house.hear_at_once(f"hello from {number}", sender=f"whatsapp:+1555123000{number}")
        house.clock.advance(1)
    numbers = {1: 5, 2: 6, 3: 3, 4: 2, 5: 4, 6: 1, 7: 7}  # ids are in the order of their beginning
    marta, ben = acts(house.database, "Marta"), acts(house.database, "Ben")
    await marta.take_over(numbers[1])
    await ben.take_over(numbers[2])
    for waiting in (3, 4):
        await marta.leave(numbers[waiting])
    await marta.close(numbers[7])
    return api


async def numbers_of(api: Api, query: str, *, by: str = "marta") -> list[int]:
    """Of whom, in the list's order."""
    reply = await api.get(f"/conversations?{query}", by=by)
    assert reply.status == 200, reply.document
    return [int(one["last"]["text"][-1]) for one in reply.document["conversations"]]


async def test_a_view_has_what_an_operator_comes_for(inbox: Api) -> None:
    assert await numbers_of(inbox, "view=mine") == [1]
    assert await numbers_of(inbox, "view=mine", by="ben") == [2]
    assert await numbers_of(inbox, "view=person") == [4, 3]
    assert await numbers_of(inbox, "view=ai") == [6, 5]
    assert await numbers_of(inbox, "view=closed") == [7]
    assert await numbers_of(inbox, "view=open") == [2, 1, 5, 3, 4, 6]
    assert await numbers_of(inbox, "view=failed") == []
    assert await numbers_of(inbox, "view=person&owner=human") == []
    assert await numbers_of(inbox, "view=open&owner=human&owner=waiting") == [2, 1, 3, 4]


async def test_who_has_waited_longest_comes_first_over_all_pages(inbox: Api) -> None:
    for view, expected in (("person", [4, 3]), ("ai", [6, 5])):
        first = (await inbox.get(f"/conversations?view={view}&limit=1")).document
        [one] = first["conversations"]
        assert one["waiting_since"] == one["last"]["at"]
        rest = await numbers_of(inbox, f"view={view}&before={first['next']}")
        assert [int(one["address"][-1]), *rest] == expected


async def test_a_number_of_ours_chooses(inbox: Api, house: House) -> None:
    await house.hear_at_once("hello from 8", to="whatsapp:+15550008888")
    assert await numbers_of(inbox, "number=whatsapp:%2B15550008888") == [8]
    assert len(await numbers_of(inbox, f"number={OURS.replace('+', '%2B')}")) == 7
    assert await numbers_of(inbox, "number=whatsapp:%2B1") == []


async def test_words_are_looked_for_in_messages_and_names_and_digits_in_numbers(inbox: Api, house: House) -> None:
    await house.change("UPDATE contacts SET name = 'Ángela Ruiz' WHERE address = ?", "whatsapp:+15551230005")
    assert await numbers_of(inbox, "q=from%203") == [3]
    assert await numbers_of(inbox, "q=ruiz") == [5]
    assert await numbers_of(inbox, "q=%C3%81ngela") == [5]
    assert await numbers_of(inbox, "q=%2B1%20555%20123-0002") == [2]
    assert await numbers_of(inbox, "q=ruiz", by="screen") == [5]
    assert await numbers_of(inbox, "q=hello&view=ai") == [6, 5]
    assert (await inbox.get("/conversations?q=0002", by="screen")).problem == (403, "role")
    assert (await inbox.get("/conversations?q=a&text=b")).problem == (400, "invalid")


async def test_a_conversation_says_how_long_whatsapp_takes_free_text(chats: Api, house: House) -> None:
    one = (await chats.get("/conversations/1")).document["conversation"]
    [(heard,)] = await house.rows("SELECT last_inbound_wall FROM threads WHERE id = 1")
    assert one["free_text_until"] == iso_time(heard + 86_400_000)
    await house.change("UPDATE threads SET last_inbound_wall = NULL, last_inbound_at = NULL WHERE id = 1")
    never = (await chats.get("/conversations/1")).document["conversation"]
    assert never["free_text_until"] == never["opened_at"]


async def test_who_may_not_see_a_number_cannot_search_it_out(chats: Api) -> None:
    for query in ("/conversations?address=555", "/conversations?text=%2B1", "/jobs?text=1", "/jobs?lane=x"):
        assert (await chats.get(query, by="screen")).problem == (403, "role")
    assert (await chats.get("/conversations?text=open", by="screen")).status == 200


@pytest.mark.parametrize("path", ["/conversations", "/jobs", "/conversations/1/messages"])
async def test_pages_come_to_their_end_with_each_row_once(path: str, api: Api, house: House) -> None:
    for number in range(7):
        await house.hear(f"hello {number}", sender=ANA if "1/" in path else f"whatsapp:+1555123000{number}")
        await house.settle()
    rows: list[Any] = []
    before, pages = "", 0
    while True:
        document = (await api.get(f"{path}?limit=3{before}")).document
        found = next(document[name] for name in ("conversations", "jobs", "messages") if name in document)
        assert len(found) <= 3
        rows += [one["id"] for one in found]
        pages += 1
        if not document["more"]:
            break
        before = f"&before={document['next']}"
    whole = (await api.get(f"{path}?limit=200")).document
    everything = next(whole[name] for name in ("conversations", "jobs", "messages") if name in whole)
    assert sorted(rows) == sorted(one["id"] for one in everything)
    assert (len(rows) >= 7, pages >= 3) == (True, True)


async def test_a_count_is_given_where_it_is_asked_for(chats: Api) -> None:
    document = (await chats.get("/conversations?count=true&limit=1")).document
    assert document["count"] == {"count": 2, "capped": False}
    assert "count" not in (await chats.get("/conversations")).document


async def test_numbers_and_templates(api: Api, house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await Templates(house.database, house.wall).replace_all(
        [Template("HX1", "ready", "en", "twilio/text", "Hi {{1}}", ("1",), "utility", "approved", "")]
    )
    await acts(house.database, "Marta").pause(f"number:{OURS}", "old prices")
    [number] = (await api.get("/numbers")).document["numbers"]
    assert (number["address"], number["persona"], number["paused"]["reason"]) == (OURS, "default", "old prices")
    [template] = (await api.get("/templates")).document["templates"]
    assert (template["name"], template["variables"]) == ("ready", ["1"])


REFUSED: tuple[tuple[str, tuple[int, str]], ...] = (
    ("/conversations/99", (404, "not-found")), ("/conversations/x", (404, "not-found")),
    ("/conversations/1e3", (404, "not-found")), ("/conversations/-1", (404, "not-found")),
    ("/conversations/99999999999999999999", (404, "not-found")), ("/contacts/9", (404, "not-found")),
    ("/jobs/9", (404, "not-found")), ("/conversations/9/messages", (404, "not-found")),
    ("/conversations?limit=201", (400, "invalid")), ("/conversations?limit=0", (400, "invalid")),
    ("/conversations?limit=1&limit=2", (400, "invalid")), ("/conversations?before=x", (400, "invalid")),
    ("/conversations?before=WzEsIDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ", (400, "invalid")),
    ("/conversations?owner=me", (400, "invalid")), ("/conversations?since=yesterday", (400, "invalid")),
    ("/conversations?since=2026-01-01T00:00:00", (400, "invalid")), ("/conversations?text=%00", (400, "invalid")),
    ("/jobs?state=asleep", (400, "invalid")), ("/conversations?text=%ed%a0%80", (400, "malformed")),
)  # fmt: skip


async def test_what_cannot_be_asked_for_is_refused(chats: Api) -> None:
    for path, problem in REFUSED:
        assert (path, (await chats.get(path)).problem) == (path, problem)


async def test_a_problem_tells_a_viewer_no_number_either(api: Api) -> None:
    reply = await api.get("/conversations?owner=%2B15551230001", by="screen")
    assert (reply.status, "15551230001" in json.dumps(reply.document)) == (400, False)
