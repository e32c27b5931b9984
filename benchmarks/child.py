"""Runs one async function of this package in a process of its own: nothing is measured in a warmed-up interpreter."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from convoq import logs

ROOT = Path(__file__).parents[1]
LONGEST_RUN = 900.0
READY = "READY\n"


class BenchmarkFailed(Exception):
    """A contestant did not do its work, so there is no number."""


def run(function: str, variables: Mapping[str, str] | None = None, /, **arguments: Any) -> Any:
    """What `function` ("module:name" below this package) returned; `variables` go into its environment.

    Raises BenchmarkFailed.
    """
    try:
        ended = subprocess.run(
            _command(function, arguments),
            env=environment(**(variables or {})), capture_output=True, text=True, timeout=LONGEST_RUN,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{function} did not end within {LONGEST_RUN:g} s") from None
    return _result(function, ended.returncode, ended.stdout, ended.stderr)


class Child:
    """A function that runs beside us until it is told to stop."""

    def __init__(self, function: str, process: subprocess.Popen[str]) -> None:
        self._function = function
        self._process = process

    def stop(self) -> Any:
        """Tells it to stop; what it returned. Raises BenchmarkFailed."""
        out, err = self._process.communicate(timeout=LONGEST_RUN)
        return _result(self._function, self._process.returncode, out, err)


@contextmanager
def beside(function: str, **arguments: Any) -> Iterator[Child]:
    """Runs `function` beside us; it says ready() and returns once stopped() does."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        _command(function, arguments), env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    with process:
        try:
            if _line(process.stdout) != READY:
                out, err = process.communicate(timeout=LONGEST_RUN)
                _result(function, process.returncode or 1, out, err)
            yield Child(function, process)
        finally:
            if process.poll() is None:
                process.kill()


def ready() -> None:
    """In the child: the measurement may begin."""
    sys.stdout.write(READY)
    sys.stdout.flush()


async def stopped() -> None:
    """In the child: returns when the parent says stop, or is gone."""
    await asyncio.to_thread(sys.stdin.read)


def environment(**variables: str) -> dict[str, str]:
    """Ours without any setting of convoq's, and with this package on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONVOQ_", "NOTIFY_SOCKET"))}
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


def _command(function: str, arguments: dict[str, Any]) -> list[str]:
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    return [sys.executable, "-m", "benchmarks.child", function, json.dumps(plain)]


def _line(stream: IO[str] | None) -> str:
    return stream.readline() if stream is not None else ""


def _result(function: str, code: int, out: str, err: str) -> Any:
    if code != 0:
        raise BenchmarkFailed(f"{function} ended with {code}: {' '.join(err.split())[-600:]}")
    return json.loads(out.splitlines()[-1])


def main() -> None:
    target, arguments = sys.argv[1:]
    logs.configure("warning", "json")
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    sys.stdout.write(json.dumps(asyncio.run(function(**json.loads(arguments)))) + "\n")


if __name__ == "__main__":
    main()
