"""The buttons of a conversation. Each is a form that also works without scripts, and does once what it says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from convoq.console.endpoints import Site
from convoq.console.pages.acting import act
from convoq.console.pages.chat import conversation_id, show_chat
from convoq.console.pages.gate import FORM_FIELDS
from convoq.console.pages.refusals import PageRefused
from convoq.console.pages.visitors import VISITOR
from convoq.conversations.acts import Acts
from convoq.conversations.operators import Written
from convoq.conversations.ownership import ActRefused, Change
from convoq.conversations.pausing import thread_scope
from convoq.conversations.queries import Reading
from convoq.conversations.records import Conversation
from convoq.conversations.templates import TemplateRequest

VARIABLE: Final = "var."
#: What the refusal is to a browser: a conflict with how things are now, or a rule.
_STATUS: Final = {"not_owner": 409, "stale": 409, "unchanged": 409, "paused": 409, "closed": 409, "key_reused": 409}
_FORCED: Final = {
    "reply": "Send it, and take over", "template": "Send it, and take over", "owner": "Take it over",
    "close": "Close it all the same",
}  # fmt: skip
_SAID_BEFORE: Final = "This page had done something already: look what stands here, and do it again if it is missing."
#: Where the operator is no more, or the session.
_OVER: Final = ("operator", "token")

Work = Callable[[Acts], Awaitable[Any]]


async def owner(site: Site, request: web.Request) -> web.Response:
    form, number = request[FORM_FIELDS], conversation_id(request)
    to, force = form.get("to", ""), _is_forced(form)

    async def change(acts: Acts) -> Change:
        verbs = {"me": acts.take_over, "ai": acts.release, "waiting": acts.leave}
        if to not in verbs:
            raise PageRefused(400, "The form is not whole: reload the page and try again.")
        return await verbs[to](number, force=force)

    return await _do(site, request, "owner", change, lambda done: _changed(to, done))


async def close(site: Site, request: web.Request) -> web.Response:
    form, number = request[FORM_FIELDS], conversation_id(request)
    force = _is_forced(form)
    return await _do(site, request, "close", lambda acts: acts.close(number, force=force), lambda _: {"did": "close"})


async def reopen(site: Site, request: web.Request) -> web.Response:
    number = conversation_id(request)
    return await _do(site, request, "reopen", lambda acts: acts.reopen(number), lambda _: {"did": "reopen"})


async def reply(site: Site, request: web.Request) -> web.Response:
    form, number = request[FORM_FIELDS], conversation_id(request)
    key = f"page:{request[VISITOR].name}:{form.get('key', '')}"
    text, force = form.get("text", ""), _is_forced(form)
    return await _do(site, request, "reply", lambda acts: acts.reply(number, text, key=key, force=force), _written)


async def template(site: Site, request: web.Request) -> web.Response:
    form, number = request[FORM_FIELDS], conversation_id(request)
    key = f"page:{request[VISITOR].name}:{form.get('key', '')}"
    variables = {name.removeprefix(VARIABLE): form[name] for name in form if name.startswith(VARIABLE)}
    said, force = TemplateRequest(name=form.get("template", ""), variables=variables), _is_forced(form)
    return await _do(site, request, "template", lambda acts: acts.reply(number, said, key=key, force=force), _written)


async def note(site: Site, request: web.Request) -> web.Response:
    text, number = request[FORM_FIELDS].get("text", ""), conversation_id(request)
    return await _do(site, request, "note", lambda acts: acts.note(number, text), lambda _: {})


async def block(site: Site, request: web.Request) -> web.Response:
    """The person, on all channels; or, with `to`, no more."""
    form, found = request[FORM_FIELDS], await _conversation(site, request)
    contact_id, ends = found.contact.id, form.get("to") == "unblock"
    did = {"did": "unblock" if ends else "block"}

    def work(acts: Acts) -> Awaitable[None]:
        return acts.unblock(contact_id) if ends else acts.block(contact_id)

    return await _do(site, request, "block", work, lambda _: did)


async def pause(site: Site, request: web.Request) -> web.Response:
    """The AI, with this person at this number; or, with `to`, no more."""
    form, found = request[FORM_FIELDS], await _conversation(site, request)
    scope, ends = thread_scope(found.thread_id), form.get("to") == "resume"
    did = {"did": "resume" if ends else "pause"}

    async def work(acts: Acts) -> None:
        await (acts.resume(scope) if ends else acts.pause(scope))

    return await _do(site, request, "pause", work, lambda _: did)


async def _conversation(site: Site, request: web.Request) -> Conversation:
    """Raises LookupError."""
    found = await Reading(site.database).get(conversation_id(request))
    if found is None:
        raise LookupError("there is no such conversation")
    return found


async def show_number(site: Site, request: web.Request) -> web.Response:
    """The page itself is the answer: no address shows the number without its line in the audit trail."""
    form, number = request[FORM_FIELDS], conversation_id(request)
    await act(site, request[VISITOR], number, "number", form, lambda acts: acts.note_look(number), lambda _: {})
    return await show_chat(site, request, number=True)


async def _do(
    site: Site, request: web.Request, what: str, work: Work, answer: Callable[[Any], Mapping[str, Any]]
) -> web.Response:
    """Done: the conversation's page anew. Refused: the page with the reason, and with what was written."""
    visitor, form, number = request[VISITOR], request[FORM_FIELDS], conversation_id(request)
    try:
        done = dict(await act(site, visitor, number, what, form, work, answer))
    except ActRefused as refused:
        if refused.code in _OVER:
            raise PageRefused(401, f"Nothing was done: {refused}.") from None
        sentence = _SAID_BEFORE if refused.code == "key_reused" else _sentence(str(refused))
        confirm = _FORCED.get(what, "") if refused.code == "not_owner" else ""
        return await show_chat(
            site, request, status=_STATUS.get(refused.code, 422), problem=sentence, confirm=confirm,
            draft=form.get("text", ""), again={**form, "force": "1"},
        )  # fmt: skip
    shown = done.pop("conversation_id", number)
    query = urlencode({name: value for name, value in done.items() if value})
    return web.Response(status=303, headers={"Location": f"/inbox/{shown}{'?' if query else ''}{query}#newest"})


def _changed(to: str, change: Change) -> dict[str, Any]:
    return {"did": to, "unsent": change.unsent, "way": change.under_way, "returned": change.returned}


def _written(written: Written) -> dict[str, Any]:
    change = written.change
    beside = {"did": "me", "unsent": change.unsent, "way": change.under_way} if change.unsent + change.under_way else {}
    return {"conversation_id": change.conversation.id, **beside}


def _is_forced(form: Mapping[str, str]) -> bool:
    return form.get("force") == "1"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
