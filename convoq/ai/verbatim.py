"""OpenAI's client with the walk through every message left out of a request."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from openai import AsyncOpenAI
from openai.resources.chat import AsyncChat, AsyncCompletions


class VerbatimClient(AsyncOpenAI):
    """Sends the messages of a chat as they are given, so they have to be what JSON knows.

    The SDK looks at each value of each message for its declared type, in case it has another name on the wire. None of
    a message's has; for a long conversation that takes longer than all else that is done for a request.
    """

    @cached_property
    def chat(self) -> AsyncChat:
        return _Chat(self)


class _Chat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class _Completions(AsyncCompletions):
    async def create(self, *, messages: Any, extra_body: Any = None, **parameters: Any) -> Any:
        # What stands in extra_body goes out as it is, in the place of the parameter of the same name.
        body = {"messages": messages, **(extra_body or {})}
        return await super().create(messages=[], extra_body=body, **parameters)
