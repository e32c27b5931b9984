"""What a person sends that is more than text, as the fields in which Twilio hands it over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A message of one kind. `content_type` is that of its medium, if it has one."""

    label: str
    title: str
    text: str = ""
    content_type: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    on_sms: bool = False

    def fits(self, channel: str) -> bool:
        return self.on_sms or channel == "WhatsApp"


ATTACHMENTS: Final = {
    "photo": Attachment(label="Photo", title="A photo without a word", content_type="image/jpeg", on_sms=True),
    "voice": Attachment(label="Voice", title="A voice note", content_type="audio/ogg"),
    "location": Attachment(
        label="Location", title="A place: 1 Main Street, London",
        fields={"MessageType": "location", "Latitude": "51.5007", "Longitude": "-0.1246", "Address": "1 Main Street",
                "Label": "Corner Bakery"},
    ),
    "button": Attachment(
        label="Button", title="A tap on the button “Yes, please” of a template", text="Yes, please",
        fields={"MessageType": "button", "ButtonText": "Yes, please", "ButtonPayload": "confirm-order"},
    ),
}  # fmt: skip
