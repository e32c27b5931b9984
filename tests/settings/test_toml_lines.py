"""Every key of a TOML text is found, on its own line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.settings.schema import KeyPath
from convoq.settings.toml_lines import key_lines

TRICKY = """\
top = 1 # [not.a.table]
"quo.ted" = 'x = 1'
text = \"\"\"
[fake]
fake = \\"\"\" 1
\"\"\"\"\"
raw = '''
[[fake]]
' '''''

[ a . "b c" ]   # comment
d.e = { f = 1, "g" = [ 1, { h = 2 } ] }

[[items]]
list = [
  1, # one ]
  [2, 3],
  { k = "]" },
]
[items.sub]
x = 2026-01-01 10:00:00
[[items.deep]]
y = 1
[[items.deep]]
y = 2
[[items]]
list = []
[items.sub]
x = 1
"""


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(item, (*path, key))


def test_finds_every_key_of_a_tricky_text() -> None:
    assert set(key_lines(TRICKY)) == set(paths(tomllib.loads(TRICKY)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 1),
        (("quo.ted",), 2),
        (("raw",), 7),
        (("a", "b c", "d", "e", "g", 1, "h"), 12),
        (("items",), 14),
        (("items", 0, "list", 2, "k"), 18),
        (("items", 0, "deep", 1, "y"), 25),
        (("items", 1), 26),
        (("items", 1, "sub", "x"), 29),
    ],
)
def test_a_key_is_on_its_line(path: KeyPath, line: int) -> None:
    assert key_lines(TRICKY)[path] == line


PIECES = [
    "[a]",
    "[b.c]",
    "[[d]]",
    "[[d.e]]",
    "x = 1",
    "y.z = '#'",
    'w = "]"',
    "v = [1, {u = 2}]",
    "t = '''\n[q]'''",
    "",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_agrees_with_tomllib_on_what_is_there(pieces: list[str]) -> None:
    text = "\n".join(pieces)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(key_lines(text)) == set(paths(values))
