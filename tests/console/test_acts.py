"""What is done over the API is what the commands do: in the operator's name, once, and wholly or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.conversations.templates import Template, Templates
from convoq.queue.base import JobFilter, JobState
from tests.console.site import Api, Reply, acts
from tests.handlers.house import ANA, BEN, OURS, House


@pytest.fixture
async def chat(api: Api, house: House) -> Api:
    """Ana was answered, and waits again."""
    await house.hear("are you open?")
    await house.settle()
    await house.hear_at_once("and on Sunday?")
    return api


async def owner(house: House) -> list[tuple[Any, ...]]:
    return await house.rows("SELECT owner, owner_name, owner_version FROM conversations ORDER BY id")


async def test_a_message_takes_over_and_goes_out(chat: Api, house: House) -> None:
    reply = await chat.post("/conversations/1/messages", {"text": "Until six."})
    written = reply.document
    assert (reply.status, written["new"], written["answers"], written["owner_before"]) == (202, True, 1, "ai")
    assert (written["conversation"]["owner"], written["conversation"]["owner_name"]) == ("human", "Marta")
    await house.settle()
    assert house.sent[-1] == "Until six."
    assert await house.rows("SELECT who, act, conversation_id, way FROM audit WHERE way IS NOT NULL") == [
        ("Marta", "reply", 1, "api")
    ]


async def test_a_note_is_never_sent(chat: Api, house: House) -> None:
    reply = await chat.post("/conversations/1/notes", {"text": "likes tea"})
    assert (reply.status, reply.document) == (201, {"conversation_id": 1, "note_id": 1})
    assert (await chat.get("/conversations/1")).document["notes"][0]["text"] == "likes tea"
    assert (await owner(house))[0][0] == "ai"


async def test_the_owner_changes_for_who_has_seen_the_present_one(chat: Api, house: House) -> None:
    async def put(owner: str, version: str, by: str = "marta", **more: object) -> Any:
        body = {"owner": owner, **more}
        return await chat.ask("PUT", "/conversations/1/owner", body, by=by, headers={"If-Match": version})

    assert (await chat.ask("PUT", "/conversations/1/owner", {"owner": "me"})).problem == (428, "version-missing")
    taken = await put("me", '"0"')
    assert (taken.status, taken.headers["ETag"], taken.document["owner_before"]) == (200, '"1"', "ai")
    stale = await put("me", '"0"', by="ben")
    assert stale.problem == (412, "stale")
    assert [stale.document[name] for name in ("owner", "owner_name", "owner_version")] == ["human", "Marta", 1]
    owned = await put("me", '"1"', by="ben")
    assert (owned.problem, owned.document["owner_name"], owned.document["can"]) == ((409, "owned"), "Marta", ["force"])
    assert await owner(house) == [("human", "Marta", 1)]
    assert (await put("me", "*", by="ben", force=True)).status == 200
    assert (await put("waiting", '"2"', by="ben")).document["conversation"]["owner"] == "waiting"
    assert (await put("waiting", '"3"')).problem == (409, "unchanged")
    given = await put("ai", '"3"')
    assert (given.document["conversation"]["owner"], given.document["returned_messages"]) == ("ai", 1)
    await house.settle()
    assert house.sent[-1] == "re: and on Sunday?"


async def test_what_is_left_to_nobody_is_nobodys_until_the_ai_has_it(chat: Api) -> None:
    async def put(to: str, version: int) -> Reply:
        headers = {"If-Match": f'"{version}"'}
        return await chat.ask("PUT", "/conversations/1/owner", {"owner": to}, headers=headers)

    left = await put("nobody", 0)
    assert (left.status, left.document["conversation"]["owner"], left.headers["ETag"]) == (200, "nobody", '"1"')
    assert (await put("nobody", 1)).problem == (409, "unchanged")
    assert (await put("ai", 1)).document["returned_messages"] == 0


@pytest.mark.parametrize("given", ["1", '"x"', '"1", "2"', 'W/"1"', '"-1"', ""])
async def test_a_version_that_is_none_is_malformed(given: str, chat: Api) -> None:
    reply = await chat.ask("PUT", "/conversations/1/owner", {"owner": "me"}, headers={"If-Match": given})
    assert reply.problem == (400, "malformed")


async def test_a_colleagues_conversation_is_written_into_only_by_force(chat: Api, house: House) -> None:
    await chat.post("/conversations/1/messages", {"text": "Hello."})
    refused = await chat.post("/conversations/1/messages", {"text": "Hi."}, by="ben")
    assert refused.problem == (422, "not-the-owner")
    assert (refused.document["owner_name"], refused.document["can"]) == ("Marta", ["force"])
    assert (await chat.post("/conversations/1/messages", {"text": "Hi.", "force": True}, by="ben")).status == 202
    assert [name for _, name, _ in await owner(house)] == ["Ben"]


async def test_closed_is_over_and_reopened_goes_on(chat: Api, house: House) -> None:
    assert (await chat.post("/conversations/1/reopen")).problem == (409, "unchanged")
    assert (await chat.post("/conversations/1/close")).document["conversation"]["closed_reason"] == "operator"
    assert (await chat.post("/conversations/1/close")).problem == (409, "closed")
    reopened = await chat.post("/conversations/1/reopen")
    assert (reopened.status, reopened.document["conversation"]["status"]) == (200, "active")
    await house.upkeep("process_expired")
    assert await house.rows("SELECT status FROM conversations") == [("active",)]
    await chat.post("/conversations/1/close")
    await house.hear("hello?")
    await house.settle()
    newer = await chat.post("/conversations/1/reopen")
    assert (newer.problem, "conversation 2" in newer.document["detail"]) == ((409, "closed"), True)


async def test_a_closed_window_takes_a_template_alone(chat: Api, house: House) -> None:
    await Templates(house.database, house.wall).replace_all(
        [Template("HX1", "ready", "en", "twilio/text", "Hi {{1}}", ("1",), "utility", "approved", "")]
    )
    house.wall.ahead = 25 * 3600
    house.clock.advance(25 * 3600)
    refused = await chat.post("/conversations/1/messages", {"text": "Hello."})
    assert (refused.problem, refused.document["can"]) == ((422, "window-closed"), ["template"])
    assert "ready" in refused.document["detail"]
    assert (await owner(house))[0][0] == "ai"
    unfit = await chat.post("/conversations/1/messages", {"template": "ready"})
    assert unfit.problem == (422, "template")
    sent = await chat.post("/conversations/1/messages", {"template": "ready", "variables": {"1": "Ana"}})
    assert sent.status == 202


async def test_who_wants_none_gets_none(chat: Api, house: House) -> None:
    await house.hear_at_once("STOP")
    assert (await chat.post("/conversations/1/messages", {"text": "Hello."})).problem == (422, "opted-out")
    blocked = await chat.ask("PATCH", "/contacts/1", {"blocked": True, "reason": "insults the staff"})
    assert (blocked.status, blocked.document["contact"]["blocked_at"] is not None) == (200, True)
    assert (await chat.ask("PATCH", "/contacts/1", {"blocked": True})).problem == (409, "unchanged")
    assert (await chat.ask("PATCH", "/contacts/1", {"blocked": False})).status == 200
    assert (await chat.ask("PATCH", "/contacts/7", {"blocked": True})).problem == (404, "not-found")


async def test_a_contacts_name_and_facts_are_changed_wholly_or_not_at_all(chat: Api, house: House) -> None:
    async def patch(**body: object) -> Reply:
        return await chat.ask("PATCH", "/contacts/1", body)

    changed = await patch(name="Ana Ruiz", facts=["vegetarian", " has a\u00a0dog "])
    assert (changed.status, changed.document["contact"]["name"]) == (200, "Ana Ruiz")
    assert [(one["who"], one["text"]) for one in changed.document["facts"]] == [
        ("Marta", "vegetarian"), ("Marta", "has a dog"),
    ]  # fmt: skip
    ids = [one["id"] for one in changed.document["facts"]]
    again = await patch(facts=["has a dog", "has a cat"])
    assert [one["text"] for one in again.document["facts"]] == ["has a dog", "has a cat"]
    assert again.document["facts"][0]["id"] == ids[1]
    assert (await patch(facts=["has a cat", "has a dog"])).problem == (409, "unchanged")
    for facts in (["x" * 201], [""], [f"{number}" for number in range(21)]):
        assert (await patch(blocked=True, facts=facts)).problem == (422, "text")
    assert (await patch()).problem == (400, "invalid")
    assert (await patch(reason="rude")).problem == (400, "invalid")
    assert (await chat.get("/contacts/1")).document["contact"]["blocked_at"] is None
    await house.hear_at_once("me again")
    await house.settle()
    assert (await chat.get("/contacts/1")).document["contact"]["name"] == "Ana Ruiz"
    assert house.responder.asked[-1].contact_facts == ("has a dog", "has a cat")
    both = await patch(blocked=True, name="")
    assert (both.document["contact"]["name"], both.document["contact"]["blocked_at"] is None) == (None, False)
    assert [act for (act,) in await house.rows("SELECT act FROM audit WHERE way = 'api' ORDER BY id")] == [
        "name_contact", "set_facts", "set_facts", "name_contact", "block",
    ]  # fmt: skip


async def test_what_was_written_down_of_a_person_goes_with_them(chat: Api, house: House) -> None:
    await chat.ask("PATCH", "/contacts/1", {"facts": ["vegetarian"], "name": "Ana Ruiz"})
    exported = (await chat.get("/contacts/1/export")).document["contacts"][0]
    assert [(one["who"], one["text"]) for one in exported["facts"]] == [("Marta", "vegetarian")]
    await acts(house.database, "Marta").erase("twilio", [ANA], house.clock.now())
    erased = (await chat.get("/contacts/1")).document
    assert (erased["facts"], erased["contact"]["name"], erased["erased"]) == ([], None, True)
    assert (await chat.ask("PATCH", "/contacts/1", {"facts": ["x"]})).problem == (422, "erased")


TEXTS = ("x" * 4001, "x" * 5000, "ring \u0007", "red \u001b[31m", "", " \n ", "\u200b")


async def test_a_text_that_cannot_be_sent_is_refused_and_nothing_is_done(chat: Api, house: House) -> None:
    before = await owner(house)
    for text in TEXTS:
        for kind in ("messages", "notes"):
            assert (await chat.post(f"/conversations/1/{kind}", {"text": text})).problem == (422, "text")
    assert await owner(house) == before
    assert await house.rows("SELECT count(*) FROM operator_notes") == [(0,)]
    assert (await chat.post("/conversations/1/messages", {"text": "x" * 4000})).status == 202


BODIES: tuple[tuple[bytes, str], ...] = (
    (b"", "invalid"), (b"{", "malformed"), (b"[]", "malformed"), (b'"text"', "malformed"), (b"NaN", "malformed"),
    (b'{"text": NaN}', "malformed"), (b'{"text": "a", "text": "b"}', "malformed"),
    (b'{"text": "\\ud800"}', "malformed"), (b'{"text": "a\\u0000"}', "malformed"), (b'{"text": "\xff"}', "malformed"),
    (b"[" * 30_000, "malformed"), (b'{"text": ' + b"9" * 5000 + b"}", "malformed"),
    (b'{"text": 1}', "invalid"), (b'{"text": "a", "colour": "red"}', "invalid"), (b'{"text": null}', "invalid"),
    (b'{"text": "a", "template": "b"}', "invalid"), (b'{"text": "a", "force": "yes"}', "invalid"),
    (b'{"text": "a", "variables": {"1": "x"}}', "invalid"), (b'{"text": "a", "force": 1}', "invalid"),
)  # fmt: skip


async def test_a_body_that_is_not_as_it_must_be_is_400(chat: Api, house: House) -> None:
    for raw, code in BODIES:
        reply = await chat.ask("POST", "/conversations/1/messages", raw=raw, key="k")
        assert (raw[:40], reply.problem) == (raw[:40], (400, code))
    assert (await owner(house))[0][0] == "ai"


async def test_another_kind_of_body_and_one_without_end_are_refused(chat: Api) -> None:
    path = "/conversations/1/messages"
    for kind in ("text/plain", "application/json; charset=latin-1", "application/x-www-form-urlencoded"):
        reply = await chat.ask("POST", path, {"text": "a"}, key="k", headers={"Content-Type": kind})
        assert reply.problem == (415, "media-type")
    assert (await chat.ask("POST", path, raw=b"x" * 70_000, key="k")).problem == (413, "too-large")


async def test_roles_end_where_they_end(chat: Api, house: House) -> None:
    for method, path, body in (
        ("POST", "/conversations/1/messages", {"text": "a"}), ("POST", "/conversations/1/notes", {"text": "a"}),
        ("PUT", "/conversations/1/owner", {"owner": "me"}), ("PATCH", "/contacts/1", {"blocked": True}),
        ("GET", "/contacts/1/export", None), ("POST", "/jobs/1/retry", None), ("POST", "/jobs/x/discard", None),
        ("POST", "/schedules/housekeeping/run", None), ("PUT", "/numbers/all/pause", {"paused": True}),
    ):  # fmt: skip
        reply = await chat.ask(method, path, body, by="screen", key="k", headers={"If-Match": "*"})
        assert (path, reply.problem) == (path, (403, "role"))
    assert await house.rows("SELECT count(*) FROM audit WHERE way = 'api'") == [(0,)]


async def test_jobs_are_retried_cancelled_and_discarded_by_their_state(chat: Api, house: House) -> None:
    [turn] = await house.claim(10)
    await house.engine.bury(turn, turn.jobs, error="broken")
    job = turn.jobs[0].id
    refused = await chat.post(f"/jobs/{job}/cancel")
    assert (refused.problem, refused.document["state"]) == ((409, "state"), "dead")
    assert (await chat.post(f"/jobs/{job}/retry")).document == {"id": job, "act": "retry"}
    assert (await chat.post(f"/jobs/{job}/retry")).problem == (409, "state")
    assert (await chat.post(f"/jobs/{job}/cancel")).status == 200
    assert (await chat.post(f"/jobs/{job}/discard")).status == 200
    assert (await chat.post(f"/jobs/{job}/discard")).problem == (404, "not-found")
    assert await house.rows("SELECT act, subject FROM audit WHERE way = 'api' ORDER BY id") == [
        ("retry_job", f"job:{job}"), ("cancel_job", f"job:{job}"), ("discard_job", f"job:{job}"),
    ]  # fmt: skip
    assert await house.flaws() == []


async def test_a_number_is_paused_and_goes_on(chat: Api, house: House) -> None:
    path = f"/numbers/{OURS.replace('+', '%2B')}/pause"
    assert (await chat.ask("PUT", path, {"paused": True, "reason": "old prices"})).document["paused"] is True
    assert (await chat.ask("PUT", path, {"paused": True})).problem == (409, "unchanged")
    assert (await chat.get("/conversations/1")).document["conversation"]["paused"] is True
    await house.settle()
    resumed = await chat.ask("PUT", path, {"paused": False})
    assert resumed.document == {"scope": f"number:{OURS}", "paused": False, "returned_conversations": 1}
    assert (await chat.ask("PUT", "/numbers/%2B1/pause", {"paused": True})).problem == (404, "not-found")
    assert (await chat.ask("PUT", path, {"paused": True, "reason": "a\u0085b"})).problem == (400, "invalid")


async def test_a_schedule_is_run_and_joined_while_one_waits(chat: Api, house: House) -> None:
    first = await chat.post("/schedules/housekeeping/run")
    again = await chat.post("/schedules/housekeeping/run")
    assert (first.status, first.document["joined"], again.document) == (
        202, False, {"job_id": first.document["job_id"], "joined": True},
    )  # fmt: skip
    assert (await chat.post("/schedules/laundry/run")).problem == (404, "not-found")
    assert len(await house.engine.list(JobFilter(kinds=("housekeeping",), states=(JobState.READY,)))) == 1


async def test_an_export_has_everything_and_is_on_record(chat: Api, house: House) -> None:
    reply = await chat.get("/contacts/1/export")
    [contact] = reply.document["contacts"]
    texts = [one["text"] for one in contact["conversations"][0]["messages"]]
    assert (reply.status, contact["address"], texts[0]) == (200, ANA, "are you open?")
    assert await house.rows("SELECT who, act, subject FROM audit WHERE way = 'api'") == [
        ("Marta", "export", "contact:1")
    ]


async def test_who_is_erased_is_written_to_and_exported_no_more(chat: Api, house: House) -> None:
    await house.hear_at_once("hello", sender=BEN)
    await acts(house.database, "Marta").erase("twilio", [ANA], house.clock.now())
    assert (await chat.post("/conversations/1/messages", {"text": "Hi."})).problem == (422, "erased")
    assert (await chat.get("/contacts/1/export")).problem == (404, "not-found")
