"""Pages as HTML: whatever a person has written is escaped, and a viewer sees no number in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from convoq.console.pages import icons, words
from convoq.console.pages.visitors import Visitor
from convoq.text import counted, masked

_FILES: Final = resources.files("convoq.console.pages")
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
STATIC: Final = ("console.css", "desk.css", "narrow.css", "console.js", "favicon.svg")


@cache
def _environment(masks: bool) -> Environment:
    """With `masks` every number is hidden in whatever stands in the page that is not its own text."""
    environment = Environment(
        loader=FunctionLoader(lambda name: _FILES.joinpath("templates", name).read_text("utf-8")),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_masked if masks else _as_is,
    )  # fmt: skip
    filters: dict[str, Callable[..., object]] = {
        "clock": words.clock, "moment": words.moment, "ago": words.ago, "one_line": words.one_line,
    }  # fmt: skip
    environment.filters.update(filters)
    environment.globals.update(icon=icons.icon, count=counted)
    return environment


def _masked(value: object) -> object:
    return masked(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _as_is(value: object) -> object:
    return value


def render(template: str, visitor: Visitor | None, values: Mapping[str, Any]) -> str:
    environment = _environment(visitor is not None and not visitor.acts)
    return environment.get_template(template).render(visitor=visitor, **values)


def page(template: str, visitor: Visitor | None, values: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(status=status, text=render(template, visitor, values), content_type="text/html")


async def static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in STATIC:
        raise web.HTTPNotFound
    return await _file(name)


async def favicon(_: web.Request) -> web.Response:
    return await _file("favicon.svg")


async def _file(name: str) -> web.Response:
    text = await asyncio.to_thread(_FILES.joinpath("static", name).read_text, "utf-8")
    return web.Response(text=text, content_type=_TYPES[name.rpartition(".")[2]], charset="utf-8")
