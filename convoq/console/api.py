"""All endpoints of the API."""

from __future__ import annotations

from typing import Final

from convoq.console import (
    bulk,
    contacts,
    conversation_acts,
    conversations,
    events,
    figures,
    jobs,
    numbers,
    system,
    turns,
)
from convoq.console.endpoints import Endpoint

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *conversations.ENDPOINTS,
    *conversation_acts.ENDPOINTS,
    *contacts.ENDPOINTS,
    *turns.ENDPOINTS,
    *jobs.ENDPOINTS,
    *bulk.ENDPOINTS,
    *numbers.ENDPOINTS,
    *system.ENDPOINTS,
    *figures.ENDPOINTS,
    *events.ENDPOINTS,
)
