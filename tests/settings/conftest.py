"""A place to load settings from: a directory with a convoq.toml, credentials, and an environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from convoq.errors import ConfigError
from convoq.settings.load import Loaded, load

CANARY = "canary-7f3a9c"
ACCOUNT = "AC" + 32 * "a"
SECRET_FILE = f"[twilio]\naccount_sid = '{ACCOUNT}'\nauth_token = '{CANARY}'\n"


class Place:
    """A directory with a convoq.toml in it, and an environment of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "convoq.toml"
        self.credentials = directory / "credentials"
        self.credentials.mkdir()

    def write(self, text: str, mode: int = 0o600) -> None:
        self.file.write_text(text)
        self.file.chmod(mode)

    def load(self, overrides: Mapping[str, Any] | None = None, **environ: str) -> Loaded:
        environ = {"CREDENTIALS_DIRECTORY": str(self.credentials), **environ}
        return load(environ=environ, overrides=overrides, searched=(self.file,))

    def problems(
        self, text: str | None = None, overrides: Mapping[str, Any] | None = None, **environ: str
    ) -> list[str]:
        if text is not None:
            self.write(text)
        with pytest.raises(ConfigError) as caught:
            self.load(overrides, **environ)
        assert caught.value.exit_code == 78
        return str(caught.value).replace(f"{self.directory}/", "").splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
