"""The OpenAPI document, made from the endpoints and the models that they read and answer with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from convoq import __version__
from convoq.console.endpoints import BASE, Endpoint
from convoq.console.events import LAST_EVENT_ID, NAMES
from convoq.console.events import MEDIA_TYPE as EVENT_STREAM
from convoq.console.problems import MEDIA_TYPE, PROBLEMS, ProblemDocument
from convoq.console.reading import JSON, LONGEST_KEY
from convoq.conversations.access import AccessRole

Json = dict[str, Any]

ALWAYS: Final = ("malformed", "invalid", "unauthorized", "expectation", "misdirected", "too-many", "storage")
WITH_BODY: Final = ("timeout", "too-large", "media-type")

_REFERENCE: Final = "#/components/schemas/{model}"
_IN_PATH: Final = re.compile(r"\{(\w+)\}")
_DESCRIPTION: Final = """\
Conversations, contacts and jobs of one convoq, for programs of those who run it. Every error is a problem of RFC 9457.
For viewers numbers are masked in every text."""


def openapi_document(endpoints: Sequence[Endpoint]) -> Json:
    """In OpenAPI 3.1."""
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(BASE + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "convoq", "version": __version__, "description": _DESCRIPTION},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(endpoints),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "convoq operators token NAME"}
            },
        },
    }


def problems_of(endpoint: Endpoint) -> list[str]:
    """All that it may answer."""
    more = [*(WITH_BODY if endpoint.method != "GET" else ()), *(["role"] if _needs_role(endpoint) else [])]
    if _IN_PATH.search(endpoint.path):
        more.append("not-found")
    if endpoint.needs_version:
        more += ["version-missing", "stale"]
    if endpoint.takes_key:
        more += ["key-reused", *(["key-missing"] if endpoint.needs_key else [])]
    if endpoint.method != "GET":
        more.append("operator")
    return list(dict.fromkeys([*ALWAYS, *more, *endpoint.problems]))


def _needs_role(endpoint: Endpoint) -> bool:
    return endpoint.role is not AccessRole.VIEWER


def _operation(endpoint: Endpoint) -> Json:
    operation: Json = {
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()}{endpoint.path}").strip("_"),
        "summary": endpoint.summary,
        "description": f"For {endpoint.role}s."
        if endpoint.role is AccessRole.ADMIN
        else f"For {endpoint.role}s and above.",
        "parameters": [*_path(endpoint), *_query(endpoint), *_headers(endpoint)],
        "responses": _responses(endpoint),
    }
    if endpoint.method not in ("GET", "DELETE"):
        required = any(field.is_required() for field in endpoint.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": {JSON: {"schema": _reference(endpoint.body)}}}
    return operation


def _path(endpoint: Endpoint) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name),
         "description": endpoint.parameters.get(name, "Its id")}
        for name in _IN_PATH.findall(endpoint.path)
    ]  # fmt: skip


def _path_schema(name: str) -> Json:
    return {"type": "integer", "minimum": 1, "maximum": 10**18 - 1} if name == "id" else {"type": "string"}


def _query(endpoint: Endpoint) -> list[Json]:
    schema = endpoint.query.model_json_schema(ref_template=_REFERENCE)
    return [_parameter(name, _without_null(one)) for name, one in schema.get("properties", {}).items()]


def _parameter(name: str, schema: Json) -> Json:
    description = schema.pop("description", "")
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _without_null(schema: Json) -> Json:
    """What is left out has no value at all."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "title") and value is not None}
    return {**rest, **kinds[0]} if len(kinds) == 1 else rest


def _headers(endpoint: Endpoint) -> list[Json]:
    found: list[Json] = []
    if endpoint.takes_key:
        schema = {"type": "string", "pattern": rf"^[\x21-\x7e]{{1,{LONGEST_KEY}}}$"}
        description = "A new one for each act; the same one to repeat it, within 24 hours"
        found.append(_header("Idempotency-Key", schema, description, required=endpoint.needs_key))
    if endpoint.streams:
        description = "The id of the last event: it goes on from there"
        found.append(_header(LAST_EVENT_ID, {"type": "string"}, description, required=False))
    if endpoint.needs_version:
        schema = {"type": "string", "pattern": r'^("[0-9]{1,18}"|\*)$'}
        found.append(_header("If-Match", schema, "The owner_version that was seen, in quotation marks", required=True))
    return found


def _header(name: str, schema: Json, description: str, *, required: bool) -> Json:
    return {"name": name, "in": "header", "required": required, "schema": schema, "description": description}


def _responses(endpoint: Endpoint) -> Json:
    content: Json = {JSON: {"schema": _reference(endpoint.answer)}}
    if endpoint.streams:
        content = {EVENT_STREAM: {"schema": _event(endpoint)}}
    answers: Json = {str(endpoint.status): {"description": "Done", "content": content}}
    by_status: dict[int, list[str]] = {}
    for code in problems_of(endpoint):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        content = {MEDIA_TYPE: {"schema": _reference(ProblemDocument)}}
        answers[str(status)] = {"description": ", ".join(codes), "content": content}
    return answers


def _event(endpoint: Endpoint) -> Json:
    """Of a stream, one event."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": _reference(endpoint.answer)}
    properties = {"event": {"type": "string", "enum": list(NAMES)}, "id": {"type": "string"}, "data": data}
    return {"type": "object", "description": "Each event", "required": ["event", "data"], "properties": properties}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _schemas(endpoints: Iterable[Endpoint]) -> Mapping[str, Any]:
    found: list[type[BaseModel]] = [ProblemDocument, *(model for one in endpoints for model in _models(one))]
    models = list(dict.fromkeys(found))
    _, schema = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
    definitions: Mapping[str, Any] = schema["$defs"]
    return definitions


def _models(endpoint: Endpoint) -> list[type[BaseModel]]:
    return [endpoint.answer, *([endpoint.body] if endpoint.method != "GET" else [])]
