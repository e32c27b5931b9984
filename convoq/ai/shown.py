"""What one model is shown of a conversation: as much as it has room for, which only its refusal may tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Self

from convoq.ai.base import Author, ContextLine, ReplyContext
from convoq.ai.context import Window, pick_lines, squeeze_lines
from convoq.ai.facts import plain_line
from convoq.ai.prompt import PromptTurn, prompt_turns
from convoq.ai.times import dated

BEGINNING: Final = "how earlier conversations with the person ended:"
END: Final = "a new conversation begins here: take up earlier matters only if the person does"


@dataclass(frozen=True)
class Shown:
    """A part of a conversation, and how it reads."""

    context: ReplyContext
    lines: tuple[ContextLine, ...]
    earlier: tuple[ContextLine, ...]
    window: Window

    @classmethod
    def of(cls, context: ReplyContext, budget: int) -> Self:
        """The newest lines within about `budget` tokens; what is to be answered is always complete."""
        lines, earlier = tuple(map(plain_line, context.lines)), tuple(map(plain_line, context.earlier))
        if earlier:
            earlier = (_note(BEGINNING, earlier[0].at), *earlier, _note(END, earlier[-1].at))
        return cls(context, lines, earlier, pick_lines(lines, budget, earlier))

    @cached_property
    def turns(self) -> list[PromptTurn]:
        return prompt_turns(dated(self.window, self.context.now, self.context.timezone))

    def halved(self) -> Self | None:
        """Half as much: older lines go first, then the first of what is to be answered. None: nothing is left to go."""
        window = squeeze_lines(self.lines, self.window.tokens // 2, self.earlier)
        return replace(self, window=window) if window.tokens < self.window.tokens else None


def _note(text: str, at: int) -> ContextLine:
    return ContextLine(author=Author.SYSTEM, text=text, at=at)
