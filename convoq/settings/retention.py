"""How long what people wrote is kept."""

from __future__ import annotations

from pydantic import Field

from convoq.settings.section import Section


class RetentionSettings(Section):
    """How long what people wrote is kept, in days; what is not set is kept for ever. Jobs have queue.retention."""

    texts_days: int | None = Field(default=None, ge=2, le=36_500, examples=[365])
    """What people wrote and were answered, with drafts and photos' addresses. That there was a message, when, and what
    it cost, stays. What still waits for its answer stays until it is settled."""

    notes_days: int | None = Field(default=None, ge=2, le=36_500, examples=[365])
    """Notes of your people, and who had a conversation when and why."""

    audit_days: int | None = Field(default=None, ge=2, le=36_500, examples=[730])
    """What your people did: convoq audit."""
