"""How the suite runs: files side by side, the long ones first, failures readable, no test skipped in CI."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A call that binds to an address with a number of its own, and not 0.
FIXED_PORT = re.compile(r"(?:create_server|start_server|TCPSite|\.bind)\([^\n]*[\"'], ?[1-9][0-9]*\)")
SKIPPED = """
import pytest
def test_that_lacks_a_package(): pytest.skip("no browser")
def test_that_lacks_a_kernel(): pytest.skip("this machine cannot: no loop device")
"""
WORKER = """
import os
def test_worker(): raise SystemError("run by " + os.environ.get("PYTEST_XDIST_WORKER", "one for all"))
"""
# While pytest parses this file, to show the line that failed, the garbage collector calls a finalizer that parses too:
# in each of its runs, as it leaves the next one behind.
PARSED_MEANWHILE = """
import ast
class Garbage:
    def __init__(self): self.me = self
    def __del__(self): Garbage(), ast.parse("(a + b) * c")
def test_it():
    Garbage()
    assert "what a test says" == "anything else"
""" + "".join(f"def f{number}(a): return [a + {number} for x in a if x and (a, x)]\n" for number in range(200))


IGNORED_BY_CHILDREN = """
import subprocess
def test_it():
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
    [ignored] = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn:")]
    assert not ignored & 0b11, "SIGHUP is 1, SIGINT is 2"
"""
COMPILING = """
import pathlib, subprocess, sys
def test_it(tmp_path):
    (tmp_path / "module.py").touch()
    subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, check=True)
    assert list(tmp_path.glob("__pycache__/module.*.pyc"))
    assert list(pathlib.Path(__file__).parent.glob("__pycache__/test_compiling.*.pyc"))
"""
# On one core, as the suite starts workers for each.
PYTEST = "import os, sys, pytest; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); sys.exit(pytest.main())"


def run(directory: Path, *arguments: str, **environ: str) -> str:
    """What pytest says of the tests in a directory, run by the rules of the suite."""
    (directory / "conftest.py").write_text("from tests.conftest import *\n")
    inherited = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST")}
    rules = ("-c", ROOT / "pyproject.toml", "--rootdir", directory, "-o", "testpaths=.")
    done = subprocess.run(
        [sys.executable, "-c", PYTEST, *rules, *arguments],
        cwd=directory, env=inherited | {"PYTHONPATH": str(ROOT)} | environ,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    return f"{done.stdout}exit code {done.returncode}"


def test_the_whole_suite_runs_side_by_side_and_what_is_named_in_one_process(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"test_{name}.py").write_text(WORKER)
    assert set(re.findall(r"SystemError: run by (.+)", run(tmp_path))) == {"gw0", "gw1"}
    assert set(re.findall(r"SystemError: run by (.+)", run(tmp_path, "test_one.py", "test_two.py"))) == {"one for all"}


def test_long_files_begin_first(tmp_path: Path) -> None:
    for number, mark in enumerate(["process", "fire", "long", "browser"]):
        (tmp_path / f"test_{number}.py").write_text(
            f"import pytest\npytestmark = pytest.mark.{mark}\nasync def test_one(): pass\nasync def test_two(): pass\n"
        )
    said = run(tmp_path, "--collect-only", "-q")
    assert re.findall(r"test_(\d).py::", said) == list("22001133")


def test_what_is_compiled_is_kept_also_where_the_environment_forbids_it(tmp_path: Path) -> None:
    (tmp_path / "test_compiling.py").write_text(COMPILING)
    assert "exit code 0" in run(tmp_path, PYTHONDONTWRITEBYTECODE="1")


@pytest.mark.parametrize("arguments", [[], ["."]], ids=["side by side", "in one process"])
def test_a_skipped_test_fails_in_ci_unless_no_package_would_help(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPED)
    said = run(tmp_path, *arguments, CI="1")
    assert "2 skipped" in said
    assert "CI: 1 tests were skipped" in said
    assert said.endswith("exit code 1")


def test_a_failure_is_shown_whatever_the_garbage_collector_finds_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(PARSED_MEANWHILE)
    said = run(tmp_path, "test_it.py")
    assert "INTERNALERROR" not in said
    assert 'assert "what a test says" == "anything else"' in said
    assert "1 failed" in said


def test_processes_of_tests_hear_the_signals_that_a_background_run_ignores(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(IGNORED_BY_CHILDREN)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        assert run(tmp_path, "test_it.py").endswith("exit code 0")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_no_test_takes_a_port_that_another_file_could_want_too() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {call[0]}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for call in FIXED_PORT.finditer(path.read_text())
    ]
    assert found == []
