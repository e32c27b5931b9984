"""What the API answers of conversations: the documents of `convoq conversations --json`, field by field."""

from __future__ import annotations

from pydantic import Field

from convoq.console.endpoints import Document
from convoq.console.paging import ListPage


class Conversation(Document):
    id: int
    contact_id: int
    channel: str
    our_address: str
    address: str
    name: str | None
    owner: str = Field(description="ai, waiting (for a person), human, nobody")
    owner_name: str | None
    owner_since: str | None
    owner_version: int = Field(description="Grows with each change of the owner: for If-Match")
    handed_reason: str | None
    paused: bool = Field(description="The AI says nothing here")
    status: str = Field(description="active, idle, closed")
    closed_reason: str | None
    opted_out_at: str | None
    blocked_at: str | None
    opened_at: str
    last_message_at: str
    last_inbound_at: str | None
    free_text_until: str | None = Field(description="WhatsApp takes free text until then; null: there is no such end")
    closed_at: str | None


class Part(Document):
    """Of a message of ours, as it is sent."""

    id: int
    part: int
    resend_of: int | None
    reference: str
    state: str
    attempts: int
    provider_id: str | None
    delivery: str | None
    error_code: str | None
    error: str | None
    settled_at: str | None
    delivery_at: str | None


class Message(Document):
    id: int
    direction: str
    author: str = Field(description="contact, ai, operator, system")
    written_by: str | None = Field(description="The operator")
    text: str = Field(description="Exactly as it was written")
    description: str = Field(description="As the AI or a person reads it, with what is not text")
    at: str
    outcome: str | None = Field(description="Of a person's message; none while it waits")
    reason: str | None
    tries: int
    answered_by: int | None
    job_id: str | None
    delivery: str | None
    parts: list[Part]


class MessageWithJob(Message):
    """With what its job came to, while it is unanswered."""

    job_state: str | None
    job_reason: str | None
    job_error: str | None


class Summary(Conversation):
    messages: int
    waiting: int = Field(description="Messages that the AI is to answer")
    waiting_since: str | None = Field(description="The oldest message that is unanswered by the AI or a person of ours")
    last: Message | None


class Count(Document):
    count: int
    capped: bool = Field(description="There are more")


class Conversations(ListPage):
    conversations: list[Summary]
    count: Count | None = Field(default=None, description="Where it was asked for")


class Note(Document):
    id: int
    at: str
    who: str
    text: str


class ConversationInFull(Document):
    conversation: Conversation
    previous_id: int | None = Field(description="The one before it, with the same person")
    message_count: int
    notes: list[Note]


class Draft(Document):
    """An answer that was written and not sent."""

    through: int
    state: str
    text: str
    model: str
    at: str


class ModelCall(Document):
    through: int
    model: str
    outcome: str
    input_tokens: int
    output_tokens: int
    duration_seconds: float
    error: str | None
    at: str


class Messages(ListPage):
    messages: list[MessageWithJob]
    drafts: list[Draft]
    model_calls: list[ModelCall]


class Transition(Document):
    at: str
    who: str
    reason: str
    owner_before: str | None
    owner_after: str
    status_before: str | None
    status_after: str


class Transitions(Document):
    transitions: list[Transition]


class Contact(Document):
    id: int
    channel: str
    address: str
    name: str | None
    opted_out_at: str | None
    blocked_at: str | None


class Fact(Document):
    id: int
    at: str
    who: str
    text: str


class ContactInFull(Document):
    contact: Contact
    others: list[Contact] = Field(description="The same person's: their number on another channel")
    facts: list[Fact] = Field(description="What colleagues have written down of the person, which the AI reads")
    erased: bool
    erasing: bool = Field(description="Something of who was erased may still be there")
    conversations: list[Conversation] = Field(description="The newest, with any of them")
