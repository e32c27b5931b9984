"""The command line: runs one subcommand and turns whatever goes wrong into a line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence

from convoq.errors import ConvoqError

INTERRUPTED = 130
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns its exit code. Whatever goes wrong is one line a problem, never a traceback."""
    _print_anything()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:
        # The reader has seen enough (`convoq jobs list | head`).
        code = 0
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        if not isinstance(error, BrokenPipeError):
            return _fail(f"cannot write the output: {error.strerror or error}", 1)
    return code


def _run(argv: Sequence[str]) -> int:
    from convoq.cli.parser import parse

    try:
        args = parse(argv)
        return int(args.run(args) or 0)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except ConvoqError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
            return _fail(f"cannot write the output: {error.strerror}", 1)
        if os.environ.get("CONVOQ_DEBUG"):
            raise
        return _fail(f"internal error: {_name(error)} (run with CONVOQ_DEBUG=1 for the traceback)", 1)


def _fail(message: str, code: int) -> int:
    from convoq.text import harmless

    for line in message.splitlines():
        print(f"convoq: {harmless(line)}", file=sys.stderr)
    return code


def _name(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:500]}" if words else type(error).__name__


def _print_anything() -> None:
    """Text that the terminal's encoding lacks is shown escaped instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """What is left in the buffer goes nowhere, so that Python does not complain about it at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        # Not a real file (a test, an embedding program): nothing is written at the end either.
        return
