"""Whatever requests the document allows, and many that it does not, are answered as the document says."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from convoq.console.api import ENDPOINTS
from convoq.console.openapi import openapi_document
from tests.console.site import Api
from tests.handlers.house import House
from tests.stores import only_sqlite

schemathesis = pytest.importorskip("schemathesis")
conformance = pytest.importorskip("schemathesis.specs.openapi.checks")

pytestmark = [only_sqlite, pytest.mark.long]

CHECKS = [
    schemathesis.checks.not_a_server_error, conformance.content_type_conformance,
    conformance.response_schema_conformance, conformance.status_code_conformance,
]  # fmt: skip
EXAMPLES = 12  #: an endpoint: the search is the same each time, so more would only take longer


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method} {one.path}")
async def test_each_answer_is_one_of_the_documents(endpoint: Any, mode: Any, api: Api, house: House) -> None:
    await house.hear("are you open?")
    await house.settle()
    schema = schemathesis.openapi.from_dict(openapi_document(ENDPOINTS))
    operation = schema[f"/api/v1{endpoint.path}"][endpoint.method]
    headers = {"Authorization": f"Bearer {api.tokens['ben']}"}

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def search(case: Any) -> None:
        response = case.call_and_validate(
            base_url=f"http://127.0.0.1:{api.server.port}", checks=CHECKS, headers=headers | fresh(endpoint)
        )
        answered.add(response.status_code)

    answered: set[int] = set()
    await asyncio.to_thread(search)
    assert answered - {401, 429}


def fresh(endpoint: Any) -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_hex(8)} if endpoint.needs_key else {}
