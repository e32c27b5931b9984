"""Twilio's Content API: the templates of our account, and what WhatsApp says of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from convoq.channels.base import Failure, SendFailed
from convoq.channels.twilio.rest import TwilioRest
from convoq.clock import Clock
from convoq.settings import TwilioSettings

_LIST: Final = "https://content.twilio.com/v1/ContentAndApprovals"
_PAGE_SIZE: Final = 100  # with bodies and samples well below the largest answer that is read
_MOST_PAGES: Final = 1000
_TEXTS: Final = ("body", "title")  #: where the kinds have what the person reads first of all


class ListedTemplate(NamedTuple):
    """One content of the account: a template in one language."""

    sid: str
    name: str
    language: str
    kind: str
    body: str
    wording: str  #: everything that may have gaps: buttons and links too
    category: str
    approval: str
    reason: str


class TwilioTemplates:
    """Made by `open`; close it."""

    def __init__(self, rest: TwilioRest) -> None:
        self._rest = rest

    @classmethod
    async def open(cls, settings: TwilioSettings, *, clock: Clock) -> TwilioTemplates:
        """`clock` is the wall clock. Raises ConfigError when Twilio cannot be asked with these settings."""
        return cls(await TwilioRest.open(settings, clock=clock))

    async def close(self) -> None:
        await self._rest.close()

    async def read_all(self) -> list[ListedTemplate]:
        """All of them, each once, whatever pages repeat. Raises SendFailed when Twilio's list cannot be read whole."""
        found: dict[str, ListedTemplate] = {}
        asked: set[str] = set()
        query = {"PageSize": str(_PAGE_SIZE)}
        for _ in range(_MOST_PAGES):
            page = await self._page(query)
            found |= {one.sid: one for one in _templates_on(page)}
            if (following := _next(page)) is None:
                return list(found.values())
            query = following
            if (this := json.dumps(query, sort_keys=True)) in asked:
                break
            asked.add(this)
        raise SendFailed(Failure.AMBIGUOUS, "Twilio's list of templates goes in circles")

    async def _page(self, query: Mapping[str, str]) -> Mapping[str, Any]:
        client = self._rest.client
        asking = client.http_client.request("GET", _LIST, params=query, auth=(client.username, client.password))
        answer = await self._rest.ask(asking)
        page: Mapping[str, Any] = json.loads(answer.text)
        return page


def _templates_on(page: Mapping[str, Any]) -> Iterator[ListedTemplate]:
    try:
        for content in page["contents"]:
            yield _to_template(content)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise SendFailed(Failure.AMBIGUOUS, f"Twilio's list of templates could not be read: {error!r}") from error


def _to_template(content: Mapping[str, Any]) -> ListedTemplate:
    kinds = content["types"]
    kind = next(iter(kinds), "")
    shown = kinds.get(kind) or {}
    approvals = content.get("approval_requests") or {}
    approval = approvals[0] if isinstance(approvals, list) else approvals
    return ListedTemplate(
        sid=content["sid"],
        name=content["friendly_name"] or approval.get("name") or content["sid"],
        language=content["language"] or "",
        kind=kind,
        body=next((shown[name] for name in _TEXTS if isinstance(shown.get(name), str)), ""),
        wording=json.dumps(kinds, ensure_ascii=False),
        category=str(approval.get("category") or "").lower(),
        approval=str(approval.get("status") or "unsubmitted").lower(),
        reason=str(approval.get("rejection_reason") or ""),
    )


def _next(page: Mapping[str, Any]) -> dict[str, str] | None:
    """The next page's query. Its address is not taken from the answer: credentials go to Twilio alone."""
    meta = page.get("meta")
    following = meta.get("next_page_url") if isinstance(meta, dict) else None
    return dict(parse_qsl(urlsplit(following).query)) if isinstance(following, str) and following else None
