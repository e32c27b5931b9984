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
        code, cause = _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:
        # The reader has seen enough (`convoq jobs list | head`).
        code, cause = 0, ""
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        if not isinstance(error, BrokenPipeError):
            code, cause = _fail(f"cannot write the output: {error.strerror or error}", 1)
    if code not in (0, INTERRUPTED) and "LISTEN_FDS" in os.environ:
        _answer_503(cause or "the lines above say why", code)
    return code


def _run(argv: Sequence[str]) -> tuple[int, str]:
    """The exit code, and what went wrong where that has been said in words of convoq's own."""
    from convoq.cli.parser import parse

    try:
        args = parse(argv)
        return int(args.run(args) or 0), ""
    except SystemExit as ended:
        return (ended.code if isinstance(ended.code, int) else 0), ""
    except ConvoqError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED, ""
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
            return _fail(f"cannot write the output: {error.strerror}", 1)
        if os.environ.get("CONVOQ_DEBUG"):
            raise
        return _fail(f"internal error: {_name(error)} (run with CONVOQ_DEBUG=1 for the traceback)", 1)


def _answer_503(cause: str, code: int) -> None:
    """Sockets that systemd handed over and no role has taken: none has started."""
    from convoq import systemd

    if systemd.has_listen_sockets():
        from convoq.daemon.unstarted import answer_503

        answer_503(cause, code)


def _fail(message: str, code: int) -> tuple[int, str]:
    from convoq.text import harmless

    for line in message.splitlines():
        print(f"convoq: {harmless(line)}", file=sys.stderr)
    return code, message


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
