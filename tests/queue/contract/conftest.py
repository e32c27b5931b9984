"""Every verb that needs a receipt, for the tests of what a lost one can do."""

from __future__ import annotations

import pytest

from tests.queue.contract.steps import VERBS, Verb


@pytest.fixture(params=list(VERBS))
def verb(request: pytest.FixtureRequest) -> Verb:
    return VERBS[str(request.param)]
