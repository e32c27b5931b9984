"""The loopback Twilio's Content API: its templates, page by page, and what a message makes of one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

PATH: Final = "/v1/ContentAndApprovals"

_GAP: Final = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A template in one language."""

    sid: str
    name: str
    body: str
    language: str = "en"
    kind: str = "twilio/text"
    approval: str | None = "approved"  #: None: WhatsApp has not been asked
    category: str = "UTILITY"
    reason: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)  #: of its kind, beside the body


class Contents:
    """What the account has; `repeated` is how many of a page's last ones the next page has again."""

    def __init__(self) -> None:
        self.all: list[Content] = []
        self.repeated = 0
        self.endless = False  #: the last page names the first as its next one

    def page(self, request: web.Request) -> web.Response:
        size, start = int(request.query.get("PageSize", "50")), int(request.query.get("PageToken", "0"))
        end = start + size
        more = end < len(self.all)
        following = urlencode({"PageSize": size, "PageToken": max(end - self.repeated, start + 1) if more else 0})
        url = f"https://content.twilio.com{PATH}?{following}" if more or self.endless else None
        shown = [_shown(content) for content in self.all[start:end]]
        return web.json_response({"meta": {"key": "contents", "next_page_url": url}, "contents": shown})

    def render(self, form: Mapping[str, str]) -> str | tuple[int, str]:
        """The text of the message, or the code and words that Twilio refuses it with."""
        content = next((one for one in self.all if one.sid == form["ContentSid"]), None)
        if content is None:
            return 21655, "The ContentSid is Invalid"
        try:
            given = json.loads(form.get("ContentVariables") or "{}")
        except ValueError:
            given = None
        gaps = set(_GAP.findall(json.dumps([content.body, content.more])))
        if not isinstance(given, dict) or not gaps <= {name for name, value in given.items() if value}:
            return 21656, "The ContentVariables Parameter is invalid"
        return _GAP.sub(lambda gap: str(given[gap[1]]), content.body)


def _shown(content: Content) -> dict[str, object]:
    approval = {"name": content.name, "category": content.category, "status": content.approval}
    return {
        "sid": content.sid,
        "friendly_name": content.name,
        "language": content.language,
        "variables": {},
        "types": {content.kind: {"body": content.body, **content.more}},
        "approval_requests": None if content.approval is None else {**approval, "rejection_reason": content.reason},
    }
