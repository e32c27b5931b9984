"""The example and the reference say what the models say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convoq.settings.load import load
from convoq.settings.reference import example, reference
from convoq.settings.schema import SETTINGS, env_name
from tests.outbound.authority import make_authority

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("file", "text", "command"),
    [
        ("convoq.toml.example", example(), "convoq config example > convoq.toml.example"),
        ("docs/configuration.md", reference(), "convoq config reference > docs/configuration.md"),
    ],
)
def test_the_file_is_what_the_models_say(file: str, text: str, command: str) -> None:
    assert (ROOT / file).read_text() == text, f"out of date: run {command}"


def test_the_example_as_it_is_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "convoq.toml"
    file.write_text(example())
    empty = tmp_path / "empty.toml"
    empty.touch()
    assert load(file, environ={}).options == load(empty, environ={}).options


def test_the_example_with_every_option_taken_out_of_its_comment_loads(tmp_path: Path) -> None:
    file = tmp_path / "convoq.toml"
    # redis.ca_file is for TLS alone.
    text = example().replace('"redis://', '"rediss://')
    file.write_text(re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE))
    file.chmod(0o600)
    make_authority(tmp_path, "localhost").certificate.rename(tmp_path / "redis-ca.pem")
    for name in ("prompt.md", "shop.md"):
        (tmp_path / name).write_text("You work in a shop.")
    loaded = load(file, environ={})
    assert loaded.options.personas[0].name == "shop"
    stands_instead_of_another = {("database", "url")}
    assert {path for path in SETTINGS if loaded.origin(*path).kind == "file"} == set(
        SETTINGS
    ) - stands_instead_of_another


def test_the_reference_names_every_setting() -> None:
    text = reference()
    assert [name for name in map(env_name, SETTINGS) if f"`{name}`" not in text] == []


def test_every_option_is_explained() -> None:
    lines = [line for line in reference().splitlines() if line.startswith("| `")]
    assert [line for line in lines if line.endswith("|  |")] == []
