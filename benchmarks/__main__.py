"""Measures: `python -m benchmarks [NAME ...]`, all figures and docs/performance.md without a name."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import machine, report
from benchmarks.figure import QUICK, Figure, Setting, Size
from benchmarks.figures import FIGURES

PAGE: Final = Path(__file__).parents[1] / "docs" / "performance.md"
# Not the temporary directory: that is often in memory, where an fsync costs nothing.
DIRECTORY: Final = Path("/var/tmp")


def main(argv: Sequence[str] | None = None) -> int:
    """0 when everything was measured (whether or not a bar was met), 1 when a figure could not be."""
    args = _arguments(argv)
    if args.list:
        for figure in FIGURES.values():
            print(f"{figure.name:16} {figure.title}")
        return 0
    figures = [FIGURES[name] for names in args.names or [list(FIGURES)] for name in names]
    size = QUICK if args.quick else Size()
    if args.rounds is not None:
        size = replace(size, rounds=args.rounds, idle_rounds=args.rounds)
    if args.messages is not None:
        size = replace(size, stored_messages=args.messages)
    started, load = time.monotonic(), machine.load()
    try:
        measured = [_measure(figure, size, args.directory) for figure in figures]
    except KeyboardInterrupt:
        return 130
    if args.output is not None:
        _write(args.output, measured, args.directory, load, time.monotonic() - started)
    return 1 if any(one.outcome is None for one in measured) else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures convoq beside its peers. Without a name: every figure, and docs/performance.md.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        type=_names,
        help="what to measure (see --list); `engines`: all four of them",
    )
    parser.add_argument("--list", action="store_true", help="list the figures")
    parser.add_argument(
        "--rounds", type=_number, metavar="N", help="rounds of each figure (default: 5; idle, memory: 3)"
    )
    parser.add_argument("--messages", type=_number, metavar="N", help="messages in the large file (default: 1000000)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it works, the numbers mean nothing"
    )
    parser.add_argument(
        "--directory",
        type=_directory,
        default=DIRECTORY,
        metavar="PATH",
        help="where databases go (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"write the page there (default for all: {PAGE.name})"
    )
    args = parser.parse_args(argv)
    if args.output is None and not args.names and not args.quick:
        args.output = PAGE
    return args


def _names(text: str) -> list[str]:
    """The figure of that name, or all whose names begin with it: `engines` are four."""
    found = [text] if text in FIGURES else [name for name in FIGURES if name.startswith(f"{text}-")]
    if not found:
        raise argparse.ArgumentTypeError(f"no such figure: {text!r}; there are {', '.join(FIGURES)}")
    return found


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _directory(text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a directory")
    return path


def _measure(figure: Figure, size: Size, directory: Path) -> report.Measured:
    """The figure, shown as soon as it is there. One that fails does not take the others with it."""
    started = time.monotonic()

    def progress(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:6.0f} s  {figure.name}: {text}\n")

    try:
        measured = report.Measured(figure, figure.measure(Setting(size, directory, progress)))
    except Exception as error:  # noqa: BLE001 # whatever it is, it belongs into the report
        measured = report.Measured(figure, None, f"{type(error).__name__}: {error}")
    print(report.section(measured), flush=True)
    return measured


def _write(
    path: Path, measured: Sequence[report.Measured], directory: Path, load_before: float, seconds: float
) -> None:
    page = report.page(
        measured,
        date=datetime.now(UTC).date().isoformat(),
        facts=machine.facts(directory),
        load=f"{load_before:.1f} before, {machine.load():.1f} after (this run included)",
        minutes=seconds / 60,
    )
    path.write_text(page)
    sys.stderr.write(f"wrote {path}\n")


if __name__ == "__main__":
    sys.exit(main())
