"""The routes, the OpenAPI document and docs/api.md say the same."""

from __future__ import annotations

import re
from pathlib import Path

from convoq.console.api import ENDPOINTS
from convoq.console.openapi import openapi_document
from convoq.console.problems import PROBLEMS
from tests.console.site import Api

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_the_page_lists_each_endpoint_with_its_role_and_meaning() -> None:
    rows = re.findall(r"(?m)^\| `([A-Z]+ /[^`]*)` \| (\w+) \| (.+) \|$", PAGE)
    assert rows == [(f"{one.method} {one.path}", one.role, one.summary) for one in ENDPOINTS]


def test_the_page_lists_each_problem_with_its_status() -> None:
    rows = re.findall(r"(?m)^\| ([0-9]{3}) \| `([a-z-]+)` \|", PAGE)
    assert [(int(status), code) for status, code in rows] == [(kind.status, code) for code, kind in PROBLEMS.items()]


async def test_the_document_that_is_answered_has_each_route_and_no_other(api: Api) -> None:
    reply = await api.get("/openapi.json", by="screen")
    assert (reply.status, reply.document["openapi"]) == (200, "3.1.0")
    documented = {
        (method.upper(), path) for path, operations in reply.document["paths"].items() for method in operations
    }
    assert documented == {(one.method, f"/api/v1{one.path}") for one in ENDPOINTS}


def test_each_reference_of_the_document_leads_to_a_schema() -> None:
    document = openapi_document(ENDPOINTS)
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert named == document["components"]["schemas"].keys() & named
    assert len({one["operationId"] for path in document["paths"].values() for one in path.values()}) == len(ENDPOINTS)
