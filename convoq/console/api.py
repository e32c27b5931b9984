"""All endpoints of the API."""

from __future__ import annotations

from typing import Final

from convoq.console import system
from convoq.console.endpoints import Endpoint

ENDPOINTS: Final[tuple[Endpoint, ...]] = (*system.ENDPOINTS,)
