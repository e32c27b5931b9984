"""Every error is a problem of RFC 9457, whatever has gone wrong."""

from __future__ import annotations

import pytest

from convoq.console.endpoints import Answer, Asked, Endpoint
from convoq.console.system import Processes
from convoq.conversations.access import AccessRole
from convoq.errors import DatabaseUnavailable
from tests.console.site import Api, open_api
from tests.handlers.house import House


async def test_what_is_not_there_is_404_and_another_method_405(api: Api) -> None:
    assert (await api.get("/nothing")).problem == (404, "not-found")
    reply = await api.ask("DELETE", "/status")
    assert (reply.problem, reply.headers["Allow"]) == ((405, "method-not-allowed"), "GET")


async def test_the_document_says_what_it_is_for_programs_and_people(api: Api) -> None:
    assert (await api.get("/status?colour=red")).document == {
        "type": "urn:convoq:problem:invalid", "title": "A field is not as it must be", "status": 400,
        "detail": "colour: Extra inputs are not permitted",
        "errors": [{"field": "colour", "problem": "Extra inputs are not permitted"}],
    }  # fmt: skip


@pytest.mark.parametrize("query", ["?%ff=1", "?a=%", "?a=%00", "?" + "&".join("a=1" for _ in range(51))])
async def test_a_query_that_cannot_be_read_is_400(query: str, api: Api) -> None:
    assert (await api.get(f"/status{query}")).status == 400


async def test_an_unknown_expectation_is_417(api: Api) -> None:
    assert (await api.ask("GET", "/status", headers={"Expect": "tea"})).problem == (417, "expectation")


def endpoint(error: Exception) -> Endpoint:
    async def handle(_site: object, _asked: Asked) -> Answer:  # type: ignore[type-arg] # of whatever it is asked
        raise error

    return Endpoint(method="GET", path="/broken", role=AccessRole.VIEWER, summary="", handle=handle, answer=Processes)


@pytest.mark.parametrize(
    ("error", "problem"),
    [(DatabaseUnavailable("locked"), (503, "storage")), (TimeoutError(), (503, "storage"))],
    ids=["unavailable", "late"],
)
async def test_what_the_storage_does_not_do_is_503(error: Exception, problem: tuple[int, str], house: House) -> None:
    async with open_api(house, endpoints=[endpoint(error)]) as api:
        reply = await api.get("/broken")
        assert (reply.problem, reply.headers["Retry-After"]) == (problem, "2")


async def test_a_fault_of_our_own_is_a_problem_too(house: House, breaks_inside: None) -> None:
    async with open_api(house, endpoints=[endpoint(RuntimeError("a secret of +15551230001"))]) as api:
        reply = await api.get("/broken", by="ben")
        assert (reply.problem, "secret" in str(reply.document)) == ((500, "internal"), False)
