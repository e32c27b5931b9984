"""Templates that the settings name."""

from __future__ import annotations

from pydantic import Field

from convoq.settings.section import Section


class TemplateSettings(Section):
    """A template by a name of your own, which `convoq templates sync` puts on record."""

    name: str = Field(pattern=r"^[^\s{}]+$", max_length=100, examples=["order_ready"])
    """What `--template` and the API call it; several may share one that differ in their language."""

    sid: str = Field(pattern=r"^HX[0-9a-f]{32}$", examples=["HX" + 31 * "0" + "1"])
    """Twilio's id of it (ContentSid). Where Twilio can be asked, its language, text and approval are those of there."""

    language: str = Field(default="", max_length=20, examples=["en"])
    """The language that it is in, as WhatsApp writes it, where Twilio could not be asked."""

    text: str = Field(max_length=1600, examples=["Hello {{1}}, your order is ready."])
    """The same of what the person reads, with its gaps, exactly as it was approved."""
