"""What a setting names as "module:attribute" is loaded, or one line says why not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from convoq.errors import ConfigError
from convoq.plugins import REFERENCE, AttributeMissing, import_module, load_plugin


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
        import_module("a_failing_module")
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


def test_a_module_is_also_found_beside_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "a_module_beside.py").write_text("class shop:\n    bot = 1\n")
    assert load_plugin("a_module_beside:shop.bot", tmp_path) == 1
    with pytest.raises(AttributeMissing, match=r"^cannot be imported: AttributeError: .*'cars'$"):
        load_plugin("a_module_beside:shop.cars", tmp_path)
