"""Templates: texts with gaps that the channel has on record, and what one becomes for a person."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from convoq.channels.base import UsedTemplate
from convoq.clock import Clock
from convoq.conversations.ownership import ActRefused
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.settings.templates import TemplateSettings

APPROVED: Final = "approved"
DECLARED: Final = "declared"  #: by the settings, while Twilio could not be asked
USABLE: Final = (APPROVED, DECLARED)
PLAIN_TEXT: Final = "twilio/text"  #: the one kind that an SMS can show
LONGEST_TEXT: Final = 1600  #: characters that Twilio takes as one message
MOST_NAMED: Final = 8

_GAP: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_UNSAYABLE: Final = re.compile(r"[\x00-\x1f\x7f]| {5,}")  # of a value: Meta takes no such message


class Template(NamedTuple):
    """One template in one language, as of the last sync."""

    sid: str
    name: str
    language: str
    kind: str  #: twilio/text, twilio/quick-reply, ...
    body: str  #: with its gaps: Hello {{1}}; empty where the kind has none
    variables: tuple[str, ...]  #: every gap's name, those of buttons and links too
    category: str  #: utility, marketing, authentication; empty where WhatsApp has not been asked
    approval: str  #: approved, pending, rejected, paused, disabled, unsubmitted, ...; or declared
    reason: str  #: why it was rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRequest:
    """What an operator asks for. `name` may be the SID."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None


class Wording(NamedTuple):
    """What is said: the text that the person reads, and the template that makes it."""

    text: str
    template: UsedTemplate | None = None


class Templates:
    """The templates on record. Each method is one transaction."""

    def __init__(self, database: Store, wall: Clock) -> None:
        self._database = database
        self._wall = wall

    async def replace_all(self, templates: Sequence[Template]) -> None:
        """Those of before that are not among these are gone."""
        await self._database.write(replace_all, templates, self._wall.now())

    async def declare(self, declared: Sequence[Template]) -> None:
        """What the settings name is there, as far as it is not known from Twilio: of that only the name changes."""
        await self._database.write(declare, declared, self._wall.now())

    async def all(self) -> list[Template]:
        """By name and language."""
        return await self._database.read(all_templates)


def replace_all(tx: Transaction, templates: Sequence[Template], wall_now: int) -> None:
    tx.execute("DELETE FROM templates")
    tx.executemany(_PUT, [(*one[:5], json.dumps(one.variables), *one[6:], wall_now) for one in templates])


def declare(tx: Transaction, declared: Sequence[Template], wall_now: int) -> None:
    tx.execute("DELETE FROM templates WHERE approval = ?", (DECLARED,))
    for one in declared:
        if not tx.execute("UPDATE templates SET name = ? WHERE sid = ?", (one.name, one.sid)).rowcount:
            tx.execute(_PUT, (*one[:5], json.dumps(one.variables), *one[6:], wall_now))


def declared_templates(settings: Sequence[TemplateSettings]) -> list[Template]:
    return [
        Template(one.sid, one.name, one.language, PLAIN_TEXT, one.text, gaps_in(one.text), "", DECLARED, "")
        for one in settings
    ]


def named_by(declared: Sequence[Template], templates: Sequence[Template]) -> list[Template]:
    """Twilio's templates, each under the name that the settings give it."""
    names = {one.sid: one.name for one in declared}
    return [one._replace(name=names.get(one.sid, one.name)) for one in templates]


def all_templates(tx: Transaction) -> list[Template]:
    return [_to_template(row) for row in tx.execute(f"{_TEMPLATE} ORDER BY name, language, sid").fetchall()]


def word(tx: Transaction, said: str | TemplateRequest, address: str) -> Wording:
    """The text itself, or what the template becomes for this address. Raises ActRefused, which says what to do."""
    if isinstance(said, str):
        return Wording(said)
    template = _choose(tx, said)
    _require_usable(template, address)
    variables = _checked(template, said.variables)
    text = _GAP.sub(lambda gap: variables[gap[1]], template.body)
    if len(text) > LONGEST_TEXT:
        raise _refused(f"{template.name} has {len(text):,} characters with these values, and at most {LONGEST_TEXT:,}")
    return Wording(text, UsedTemplate(template.sid, json.dumps(variables, ensure_ascii=False)))


def what_may_be_sent(tx: Transaction) -> str:
    """For who may send nothing else: the templates that WhatsApp has approved."""
    found = [row[0] for row in tx.execute(_APPROVED, (*USABLE, MOST_NAMED + 1)).fetchall()]
    if not found:
        return "none is on record: convoq templates sync asks Twilio for them"
    more = ", and others" if len(found) > MOST_NAMED else ""
    return f"convoq send --template: {', '.join(found[:MOST_NAMED])}{more}"


def gaps_in(text: str) -> tuple[str, ...]:
    """The names of a text's gaps, each once, in order."""
    return tuple(dict.fromkeys(_GAP.findall(text)))


def _choose(tx: Transaction, request: TemplateRequest) -> Template:
    found = [_to_template(row) for row in tx.execute(_NAMED, (request.name, request.name)).fetchall()]
    if not found:
        raise _refused(f"there is no template {request.name!r} ({what_may_be_sent(tx)})")
    languages = ", ".join(dict.fromkeys(one.language for one in found))
    if request.language is not None:
        found = [one for one in found if one.language.casefold() == request.language.casefold()]
        if not found:
            raise _refused(f"{request.name} is not there in {request.language}, but in {languages}")
    elif len({one.language for one in found}) > 1:
        raise _refused(f"{request.name} is there in {languages}: say which, with --language")
    approved = [one for one in found if one.approval in USABLE] or found
    if len(approved) > 1:
        sids = ", ".join(one.sid for one in approved)
        raise _refused(f"several templates are called {request.name}: say which by its SID, {sids}")
    return approved[0]


def _require_usable(template: Template, address: str) -> None:
    if not template.body:
        raise _refused(f"{template.name} is a {template.kind}, which has no text that could stand in the history")
    if not address.startswith("whatsapp:"):
        if template.kind != PLAIN_TEXT:
            raise _refused(f"{template.name} is a {template.kind}, which an SMS cannot show: only {PLAIN_TEXT}")
    elif template.approval not in USABLE:
        why = f" ({template.reason})" if template.reason else ""
        raise _refused(f"WhatsApp says of {template.name}: {template.approval}{why}. It takes approved ones alone")


def _checked(template: Template, given: Mapping[str, str]) -> dict[str, str]:
    """In the template's order."""
    gaps = ", ".join(template.variables) or "none"
    if missing := [name for name in template.variables if not given.get(name, "").strip()]:
        raise _refused(f"{template.name} needs a value for {', '.join(missing)} (its variables: {gaps})")
    if unknown := [name for name in given if name not in template.variables]:
        raise _refused(f"{template.name} has no variable {', '.join(unknown)} (its variables: {gaps})")
    if bad := [name for name in template.variables if _UNSAYABLE.search(given[name])]:
        raise _refused(f"{', '.join(bad)}: a value has no line break, no tab and at most four spaces in a row")
    return {name: given[name] for name in template.variables}


def _refused(reason: str) -> ActRefused:
    return ActRefused("template", reason)


def _to_template(row: tuple[Any, ...]) -> Template:
    return Template(*row)._replace(variables=tuple(json.loads(row[5])))


_PUT: Final = """
    INSERT INTO templates (sid, name, language, kind, body, variables, category, approval, reason, synced_wall)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_TEMPLATE: Final = "SELECT sid, name, language, kind, body, variables, category, approval, reason FROM templates"
_NAMED: Final = f"""
    {_TEMPLATE} WHERE name = ? UNION ALL {_TEMPLATE} WHERE sid = ? ORDER BY language, sid
"""
_APPROVED: Final = """
    SELECT name FROM templates WHERE approval IN (?, ?) AND body <> '' GROUP BY name ORDER BY name LIMIT ?
"""
