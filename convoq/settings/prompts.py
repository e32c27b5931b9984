"""Reads the instructions of a persona."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from convoq.errors import ConfigError
from convoq.settings.problems import quoted

MAX_PROMPT_BYTES: Final = 256 * 1024


def read_prompt(path: Path) -> str:
    """The text, without a byte order mark. Raises ConfigError, one line without the setting that names the file."""
    name = quoted(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PROMPT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from error
    if len(content) > MAX_PROMPT_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_PROMPT_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 text (byte {error.start})") from error
    if not text:
        raise ConfigError(f"{name} is empty: write into it who answers and how")
    return text
