"""How much a stranger may ask of the webhook listener."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one listener. Sizes are bytes, times are seconds; a time is kept to within two sweeps."""

    body: int = 65_536  #: Twilio's forms are a few kilobytes
    body_time: float = 5.0  #: from the request's head to the end of its body
    head_time: float = 10.0  #: from the first byte, or the connection, to a complete head
    idle_time: float = 75.0  #: between two requests; longer than the proxies' own 60
    request_time: float = 20.0  #: one request in all; more where the write's own deadline needs it
    linger_time: float = 3.0  #: for an answer to reach somebody who is still sending
    connections: int = 1000
    sweep_every: float = 1.0
