"""What an operator does in a conversation: writes, takes it over, gives it back, closes and reopens it."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from convoq.console.acting import act
from convoq.console.conversation_models import Conversation
from convoq.console.endpoints import Answer, Asked, Body, Document, Endpoint, NoQuery, Site
from convoq.conversations.access import AccessRole
from convoq.conversations.acts import Acts
from convoq.conversations.ownership import ActRefused, Change
from convoq.conversations.templates import TemplateRequest
from convoq.monitoring.act_documents import change_document, note_document, written_document


class ForceBody(Body):
    force: bool = Field(default=False, description="Also where a colleague has the conversation")


class MessageBody(ForceBody):
    """A text, or a template."""

    text: str | None = Field(default=None, description="At most 4,000 characters, and no control characters")
    template: str | None = Field(default=None, min_length=1, max_length=200, description="Its name, or its SID")
    variables: dict[str, str] = Field(default={}, max_length=50, description="What stands in the template's gaps")
    language: str | None = Field(default=None, max_length=20, description="Of a template that is there in several")

    @model_validator(mode="after")
    def _one_of_both(self) -> MessageBody:
        if (self.text is None) == (self.template is None):
            raise ValueError("say either text or template")
        if self.template is None and (self.variables or self.language):
            raise ValueError("variables and language go with a template")
        return self


class NoteBody(Body):
    text: str = Field(description="At most 4,000 characters, and no control characters")


class OwnerBody(ForceBody):
    owner: Literal["me", "ai", "waiting", "nobody"] = Field(
        description="You, the AI, whichever colleague comes, or nobody: say, because another program answers"
    )


class Changed(Document):
    conversation: Conversation
    owner_before: str
    unsent_parts: int = Field(description="Of the AI's answer, that now never go out")
    parts_under_way: int = Field(description="Of it, that had begun to be sent and may have left")
    returned_messages: int = Field(description="That wait for the AI again")


class Written(Changed):
    message_id: int
    new: bool
    answers: int = Field(description="Messages that waited for it")


class Noted(Document):
    conversation_id: int
    note_id: int


async def write(site: Site, asked: Asked[NoQuery, MessageBody]) -> Answer:
    conversation_id, body = asked.id_of("conversation"), asked.body
    said: str | TemplateRequest
    if body.template is not None:
        said = TemplateRequest(name=body.template, variables=body.variables, language=body.language)
    else:
        said = require_plain(body.text or "")
    return await act(
        site, asked, lambda acts: acts.reply(conversation_id, said, force=body.force), written_document,
        conversation_id=conversation_id,
    )  # fmt: skip


async def note(site: Site, asked: Asked[NoQuery, NoteBody]) -> Answer:
    conversation_id, text = asked.id_of("conversation"), require_plain(asked.body.text)
    return await act(
        site, asked, lambda acts: acts.note(conversation_id, text),
        lambda note_id: note_document(conversation_id, note_id), conversation_id=conversation_id,
    )  # fmt: skip


def require_plain(text: str) -> str:
    """What a program sends by mistake is not quietly left out. Raises ActRefused."""
    found = next((char for char in text if unicodedata.category(char) == "Cc" and char not in "\r\n\t"), None)
    if found is not None:
        raise ActRefused("text", f"the text holds a control character: U+{ord(found):04X}")
    return text


async def set_owner(site: Site, asked: Asked[NoQuery, OwnerBody]) -> Answer:
    conversation_id, force, version = asked.id_of("conversation"), asked.body.force, asked.version

    async def change(acts: Acts) -> Change:
        verbs = {"me": acts.take_over, "ai": acts.release, "waiting": acts.leave, "nobody": acts.set_aside}
        return await verbs[asked.body.owner](conversation_id, force=force, version=version)

    return await _changed(site, asked, change)


async def close(site: Site, asked: Asked[NoQuery, ForceBody]) -> Answer:
    return await _changed(site, asked, lambda acts: acts.close(asked.id_of("conversation"), force=asked.body.force))


async def reopen(site: Site, asked: Asked[NoQuery, Body]) -> Answer:
    return await _changed(site, asked, lambda acts: acts.reopen(asked.id_of("conversation")))


async def _changed(site: Site, asked: Asked[NoQuery, Any], work: Callable[[Acts], Awaitable[Change]]) -> Answer:
    answer = await act(site, asked, work, change_document, conversation_id=asked.id_of("conversation"))
    return Answer(answer.document, {"ETag": f'"{answer.document["conversation"]["owner_version"]}"'})


ENDPOINTS: Final = (
    Endpoint(
        method="POST", path="/conversations/{id}/messages", role=AccessRole.OPERATOR, handle=write, answer=Written,
        body=MessageBody, status=202, needs_key=True, summary="Write to the person; takes the conversation over",
        problems=("text", "template", "window-closed", "opted-out", "blocked", "erased", "not-the-owner", "closed"),
    ),
    Endpoint(
        method="POST", path="/conversations/{id}/notes", role=AccessRole.OPERATOR, handle=note, answer=Noted,
        body=NoteBody, status=201, summary="Write something down for colleagues; it is never sent", problems=("text",),
    ),
    Endpoint(
        method="PUT", path="/conversations/{id}/owner", role=AccessRole.OPERATOR, handle=set_owner, answer=Changed,
        body=OwnerBody, needs_version=True,
        summary="Take it over, give it to the AI, leave it to a colleague or to nobody",
        problems=("owned", "closed", "paused", "unchanged", "opted-out", "blocked", "erased"),
    ),
    Endpoint(
        method="POST", path="/conversations/{id}/close", role=AccessRole.OPERATOR, handle=close, answer=Changed,
        body=ForceBody, summary="End it; what waits in it stays unanswered", problems=("owned", "closed"),
    ),
    Endpoint(
        method="POST", path="/conversations/{id}/reopen", role=AccessRole.OPERATOR, handle=reopen, answer=Changed,
        summary="Go on with one that was closed", problems=("unchanged", "closed", "opted-out", "blocked", "erased"),
    ),
)  # fmt: skip
