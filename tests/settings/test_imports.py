"""A module of the user's own is imported, or one line says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from convoq.errors import ConfigError
from convoq.settings.imports import REFERENCE, import_own


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('one\\ntwo')", "ValueError: one ("),
        ("raise ValueError('\\x1b[2J')", r"ValueError: \x1b[2J ("),
        ("raise ValueError", "ValueError ("),
        ("import sys\nsys.exit()", "SystemExit ("),
        ("import sys\nsys.exit('usage: shop')", "SystemExit: usage: shop ("),
        ("def", "SyntaxError: "),
    ],
)
def test_a_module_that_fails_is_one_line(
    code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_failing_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        import_own("a_failing_module")
    assert str(caught.value).startswith(f"cannot be imported: {words}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("mybot:agent", True), ("my.bot:bots.shop", True),
        ("mybot", False), ("mybot:", False), ("mybot:a.", False), ("mybot:.a", False), ("mybot:a b", False),
    ],
)  # fmt: skip
def test_a_reference_names_a_module_and_an_attribute(text: str, fits: bool) -> None:
    assert (REFERENCE.fullmatch(text) is not None) == fits
