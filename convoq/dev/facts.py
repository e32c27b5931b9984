"""What a person must know about a run of `convoq dev` beforehand: what it costs, and what it was made from."""

from __future__ import annotations

import sys
import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convoq.ai.endpoints import OFFLINE
from convoq.settings import Options
from convoq.settings.load import Loaded


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The same sentences for the terminal and the page."""

    models: tuple[str, ...]  #: those that may be asked, with their endpoints; none: only fixed rules answer
    settings_file: Path | None
    prompt_file: Path | None

    @classmethod
    def of(cls, loaded: Loaded) -> RunFacts:
        file, prompt = loaded.file, loaded.options.ai.prompt_file
        return cls(
            models=tuple(dict.fromkeys(_models(loaded.options))),
            settings_file=file.absolute() if file else None,
            prompt_file=prompt.absolute() if prompt else None,
        )

    @property
    def replies(self) -> str:
        if not self.models:
            return "No real tokens are spent: replies follow fixed rules until ai.model is set"
        return f"Real tokens are spent: replies by {', '.join(self.models)}"

    @property
    def sources(self) -> str:
        read = f"Settings read from {self.settings_file}" if self.settings_file else "No settings file was read"
        return f"{read}, the prompt from {self.prompt_file}" if self.prompt_file else read

    def lines(self, address: str) -> str:
        """What the terminal says once the page answers at this address."""
        said = (f"phones at {address}", self.replies, self.sources)
        return "".join(f"convoq dev: {line}\n" for line in said)


def _models(options: Options) -> Iterator[str]:
    ai = options.ai
    for model, base_url in ((ai.model, ai.base_url), (ai.fallback_model, ai.fallback_base_url)):
        if model not in (None, OFFLINE):
            yield f"{model} at {base_url}" if base_url else str(model)
    for persona in options.personas:
        if persona.agent:
            yield f"the agent {persona.agent}"
        elif persona.model not in (None, OFFLINE):
            yield str(persona.model)


def open_in_browser(address: str) -> None:
    """Returns at once. Where there is no browser to open, the terminal says so."""

    def attempt() -> None:
        if not webbrowser.open(address):
            sys.stderr.write(f"convoq dev: found no browser to open: go to {address} yourself\n")

    # A daemon thread: a browser in the terminal lasts as long as it is open, and must not hold up the end.
    threading.Thread(target=attempt, name="browser", daemon=True).start()
