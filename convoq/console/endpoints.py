"""What the API consists of: one record an endpoint, from which routes, document and checks are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from convoq.clock import Clock
from convoq.console.errands import JobErrand, JobErrands
from convoq.console.problems import Problem
from convoq.conversations.access import AccessRole, AccessToken
from convoq.db.store import Store
from convoq.queue.base import Enqueuer, JobAdmin
from convoq.queue.following import BeginFollowUps
from convoq.settings import Options

BASE: Final = "/api/v1"
MOST_A_PAGE: Final = 200
MOST_DIGITS: Final = 18  #: of an id


class Document(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """What a request says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(BaseModel):
    """The parameters of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Query):
    """Of a list, a page."""

    limit: int = Field(default=50, ge=1, le=MOST_A_PAGE, description="At most so many")
    before: str | None = Field(
        default=None, max_length=200, description="The page after the one that said so in its `next`"
    )


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line with something to see")
    return text.strip()


#: A few words, for people.
OneLine = Annotated[str, AfterValidator(_one_line), Field(max_length=200)]


class NoQuery(Query):
    """None."""


class NoBody(Body):
    """None."""


QueryT = TypeVar("QueryT", bound=Query)
BodyT = TypeVar("BodyT", bound=Body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the console works on."""

    database: Store
    jobs: JobAdmin
    enqueuer: Enqueuer
    follow_ups: BeginFollowUps
    options: Options
    wall: Clock
    errands: JobErrands  #: the settling of `jobs` is around() these

    async def change_job(self, job_id: str, errand: JobErrand, work: Callable[[], Awaitable[int]]) -> int:
        """How many jobs `work` changed: with the errand on record, or none. Raises what the errand does."""
        is_shared = self.follow_ups().is_shared
        return await self.errands.change(job_id, errand, work, self.database, is_shared=is_shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[QueryT, BodyT]):
    """One request that has been let in and read."""

    token: AccessToken
    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    key: str | None = None  #: the Idempotency-Key
    fingerprint: str = ""  #: of all that it asks for
    version: int | None = None  #: the If-Match; None: whichever

    def id_of(self, what: str) -> int:
        """The id in the path. Raises Problem where nothing can have it."""
        given = self.path["id"]
        if not (given.isascii() and given.isdigit() and len(given) <= MOST_DIGITS):
            raise not_found(what)
        return int(given)


class Answer(NamedTuple):
    document: Mapping[str, Any]
    headers: Mapping[str, str] = {}  # it is read, never written


Handle = Callable[[Site, Asked[Any, Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    method: str
    path: str  #: behind BASE: /conversations/{id}
    role: AccessRole
    summary: str
    answer: type[BaseModel]
    handle: Handle | None = None  #: None: it streams
    status: int = 200
    query: type[Query] = NoQuery
    body: type[Body] = NoBody
    problems: tuple[str, ...] = ()  #: those besides what every endpoint may answer
    needs_key: bool = False
    needs_version: bool = False
    streams: bool = False  #: server-sent events, each with an `answer` for its data
    parameters: Mapping[str, str] = field(default_factory=dict)  #: of the path, what each is

    @property
    def takes_key(self) -> bool:
        return self.method == "POST"


def not_found(what: str) -> Problem:
    return Problem("not-found", f"there is no such {what}")
