"""What the phone page says about a message, in plain words."""

from __future__ import annotations

import pytest

from convoq.conversations.timeline import OutboundPart
from convoq.dev.page.view import _of_parts


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("Too Many Requests (20429)", "not sent yet: Too many requests at once: convoq slows down and sends it again."),
        ("Authenticate (20003)", "not sent yet: Twilio refuses the credentials: check account_sid, auth_token and the"),
        ("Twilio could not be reached: refused\nmore", "not sent yet: Twilio could not be reached: refused"),
        ("Odd (99999)", "not sent yet: Odd (99999)"),
    ],
)
def test_a_part_that_waits_says_why(error: str, hint: str) -> None:
    part = OutboundPart(
        message_id=1, reference="a", text="Hi", at=0, state="ready", attempts=1, settled_at=None, provider_id=None,
        reconciled=False, error=error, error_code=None, delivery=None, delivery_at=None, written_by=None,
    )  # fmt: skip
    found = _of_parts([part])
    assert found is not None
    assert found[0].startswith(hint)
    assert "\n" not in found[0]
