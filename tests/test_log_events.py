"""docs/log-events.md and the code name the same events, at the same levels."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEVELS = {"debug", "info", "warning", "error", "critical"}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
ROW = re.compile(r"(?m)^\| (`[^|]+`) \| ([^|]+) \|")

Events = dict[str, set[str]]


def documented() -> Events:
    rows = ROW.findall((ROOT / "docs" / "log-events.md").read_text())
    return {
        event: {level for level in LEVELS if re.search(rf"\b{level}\b", levels)}
        for names, levels in rows
        for event in re.findall(r"`([^`]+)`", names)
    }


def logged() -> Events:
    """Of each event that a call logs: its levels, empty where the level is only known at run time."""
    found: Events = defaultdict(set)
    for source in (ROOT / "convoq").rglob("*.py"):
        tree = ast.parse(source.read_text())
        wrappers = dict(levels_of_wrappers(tree))
        for node in ast.walk(tree):
            for event, levels in events_of(node, wrappers):
                found[event] |= levels
    return found


def levels_of_wrappers(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Functions that log an event whose name their caller hands in."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and any(argument.arg == "event" for argument in node.args.args):
            yield node.name, {level for part in ast.walk(node) if (level := level_of(part))}


def events_of(node: ast.AST, wrappers: Events) -> Iterator[tuple[str, set[str]]]:
    if isinstance(node, ast.Dict):  # the one event that no logger makes: log.dropped
        named = {
            key.value: value for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)
        }
        if "event" in named:
            yield from ((event, set()) for event in names_in(named["event"]))
    elif isinstance(node, ast.Call) and node.args:
        name = ast.unparse(node.func).removeprefix("self.")
        if level := level_of(node):
            yield from ((event, {level}) for event in names_in(node.args[0]))
        elif name in wrappers or name == "note" or name.startswith("getattr(log"):
            yield from ((event, wrappers.get(name, set())) for event in names_in(node.args[0]))


def names_in(argument: ast.expr) -> list[str]:
    constants = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
    values = [each.value for each in constants if isinstance(each, ast.Constant)]
    return [value for value in values if isinstance(value, str) and "." in value]


def level_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "log":
        level = {"exception": "error"}.get(node.func.attr, node.func.attr)
        return level if level in LEVELS else None
    return None


def test_every_event_that_is_logged_is_in_the_table_and_no_other() -> None:
    assert sorted(documented()) == sorted(logged())


def test_the_table_gives_each_event_the_level_that_the_code_gives_it() -> None:
    table, code = documented(), logged()
    assert {event: levels for event, levels in code.items() if levels and table[event] != levels} == {}
    assert [event for event in code if not table[event]] == []
