"""Every error that the API answers, as RFC 9457 has it: one table, one document, one exception."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE: Final = "application/problem+json"
TYPE: Final = "urn:convoq:problem:"


class ProblemType(NamedTuple):
    status: int
    title: str


#: By the last part of their type. docs/api.md has a line for each.
PROBLEMS: Final[Mapping[str, ProblemType]] = {
    "malformed": ProblemType(400, "The request cannot be read"),
    "invalid": ProblemType(400, "A field is not as it must be"),
    "key-missing": ProblemType(400, "The request needs an Idempotency-Key"),
    "unauthorized": ProblemType(401, "No valid token"),
    "role": ProblemType(403, "The token's role does not suffice"),
    "operator": ProblemType(403, "The operator may not act any more"),
    "not-found": ProblemType(404, "There is nothing"),
    "method-not-allowed": ProblemType(405, "This cannot be done to it"),
    "timeout": ProblemType(408, "The request took too long to come"),
    "closed": ProblemType(409, "The conversation is over"),
    "owned": ProblemType(409, "A colleague has the conversation"),
    "paused": ProblemType(409, "The AI is paused there"),
    "unchanged": ProblemType(409, "It is so already"),
    "state": ProblemType(409, "Its state is another one"),
    "grown": ProblemType(409, "There are many more than were seen"),
    "stale": ProblemType(412, "Who answers has changed meanwhile"),
    "too-large": ProblemType(413, "The body is too large"),
    "media-type": ProblemType(415, "The body is of another kind"),
    "expectation": ProblemType(417, "The expectation cannot be met"),
    "misdirected": ProblemType(421, "The request is for another host"),
    "not-the-owner": ProblemType(422, "A colleague has the conversation"),
    "window-closed": ProblemType(422, "WhatsApp takes no free text any more"),
    "opted-out": ProblemType(422, "The person has opted out"),
    "blocked": ProblemType(422, "The person is blocked"),
    "erased": ProblemType(422, "The person was erased"),
    "text": ProblemType(422, "The text cannot be sent"),
    "template": ProblemType(422, "The template cannot be sent"),
    "key-reused": ProblemType(422, "The Idempotency-Key was used for another request"),
    "version-missing": ProblemType(428, "The request needs an If-Match"),
    "too-many": ProblemType(429, "Too many requests without a valid token"),
    "internal": ProblemType(500, "Something went wrong here"),
    "storage": ProblemType(503, "The storage does not answer"),
}


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    model_config = ConfigDict(extra="forbid")

    field: str = Field(description="Its place: text, or variables.name")
    problem: str


class ProblemDocument(BaseModel):
    """An error. Nothing was done, but for 503 and 500, after which a repetition with the same key tells."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description=f"{TYPE}… : what it is, for programs")
    title: str
    status: int
    detail: str = Field(description="What it is this time, for people")
    errors: list[FieldProblem] = Field(default=[], description="Of 400: each field that is wrong")
    can: list[str] = Field(default=[], description="Of 422 and 409: what can be done instead")
    owner: str | None = Field(default=None, description="Of 409, 412 and 422: who answers now")
    owner_name: str | None = Field(default=None, description="The colleague's name, where it is one")
    owner_version: int | None = Field(default=None, description="For the next If-Match")
    state: str | None = Field(default=None, description="Of 409 for a job: its state now")
    count: int | None = Field(default=None, description="Of 409 for many jobs: how many there are now")


class Problem(Exception):
    """Ends a request. `fields` are those of ProblemDocument."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        return PROBLEMS[self.code].status

    def document(self) -> dict[str, Any]:
        kind = PROBLEMS[self.code]
        document = {"type": TYPE + self.code, "title": kind.title, "status": kind.status, "detail": self.detail}
        return document | {name: value for name, value in self.fields.items() if value is not None}


def invalid(field: str, problem: str) -> Problem:
    return Problem("invalid", f"{field}: {problem}", errors=[{"field": field, "problem": problem}])


def all_invalid(found: Sequence[tuple[str, str]]) -> Problem:
    detail = "; ".join(f"{field}: {problem}" for field, problem in found)
    return Problem("invalid", detail, errors=[{"field": field, "problem": problem} for field, problem in found])
