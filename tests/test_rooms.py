"""The tree shows the system: which room may import or name what, and how long a file may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import convoq

PACKAGE = Path(convoq.__file__).parent
TESTS = Path(__file__).parent
QUEUE_SQL = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:jobs|job_ids|lanes|dedup)\b")
TRIALS = ("convoq.dev", "convoq.demo", "convoq.loopback")  #: what production must not need
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


@dataclass(frozen=True, slots=True)
class Import:
    """One dotted name that a module imports: of another module, or of something in it."""

    importer: str
    name: str
    within: str | None  #: the function that imports it when it is called; None: with the module
    typing: bool  #: only for the type checker

    @property
    def module(self) -> str:
        """The longest part of the name that is a module of ours; empty for another distribution's."""
        name = self.name
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        return name


def imports(module: str) -> Iterator[Import]:
    def walk(parent: ast.AST, within: str | None, typing: bool) -> Iterator[Import]:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.Import):
                yield from (Import(module, alias.name, within, typing) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} imports relatively"
                yield from (Import(module, f"{node.module}.{alias.name}", within, typing) for alias in node.names)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(node, within or node.name, typing)
            else:
                yield from walk(node, within, typing or is_type_checking(node))

    yield from walk(ast.parse(MODULES[module].read_text()), None, False)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def is_in(name: str, *rooms: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: {each.module for each in imports(module) if not each.typing} - {"", module} for module in MODULES}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_production_imports_no_trial() -> None:
    found = {
        (each.importer, each.within, each.module)
        for module in MODULES
        if not is_in(module, *TRIALS)
        for each in imports(module)
        if is_in(each.module, *TRIALS)
    }
    assert found == {
        ("convoq.cli.roles", "run_dev", "convoq.dev.command"),
        ("convoq.cli.roles", "run_demo", "convoq.demo.command"),
    }


def test_the_queues_ports_import_no_engine() -> None:
    engines = [f"convoq.queue.{path.name}" for path in (PACKAGE / "queue").iterdir() if path.is_dir()]
    drivers = ("sqlite3", "aiosqlite", "psycopg", "redis", "boto3", "botocore", "aiobotocore")
    assert "convoq.queue.sqlite" in engines
    assert [each.name for each in imports("convoq.queue.base") if is_in(each.name, *engines, *drivers)] == []


def test_sql_on_the_queues_tables_stands_only_below_the_queue() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}: {' '.join(match.group().split())}"
        for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.sql")]
        if path.relative_to(PACKAGE).parts[0] not in ("queue", "migrations")
        for match in QUEUE_SQL.finditer(path.read_text())
    ]
    assert not found, "\n".join(sorted(set(found)))


def test_no_file_is_too_long_to_read() -> None:
    found = longer_than(400, PACKAGE) + longer_than(500, TESTS)
    assert not found, "\n".join(found)


def longer_than(most: int, directory: Path) -> list[str]:
    lengths = [(path, len(path.read_text().splitlines())) for path in sorted(directory.rglob("*.py"))]
    return [f"{path.relative_to(directory.parent)}: {length} lines" for path, length in lengths if length > most]
