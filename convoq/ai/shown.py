"""What one model is shown of a conversation: as much as it has room for, which only its refusal may tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from convoq.ai.base import ContextLine, ReplyContext
from convoq.ai.context import Window, pick_lines, squeeze_lines
from convoq.ai.facts import plain_line
from convoq.ai.prompt import PromptTurn, prompt_turns
from convoq.ai.times import dated


@dataclass(frozen=True)
class Shown:
    """A part of a conversation, and how it reads."""

    context: ReplyContext
    lines: tuple[ContextLine, ...]
    window: Window

    @classmethod
    def of(cls, context: ReplyContext, budget: int) -> Self:
        """The newest lines within about `budget` tokens; what is to be answered is always complete."""
        lines = tuple(map(plain_line, context.lines))
        return cls(context, lines, pick_lines(lines, budget))

    @cached_property
    def turns(self) -> list[PromptTurn]:
        return prompt_turns(dated(self.window, self.context.now, self.context.timezone))

    def halved(self) -> Self | None:
        """Half as much: older lines go first, then the first of what is to be answered. None: nothing is left to go."""
        window = squeeze_lines(self.lines, self.window.tokens // 2)
        return replace(self, window=window) if window.tokens < self.window.tokens else None
