"""A log that is not read holds nothing up: what finds no room is kept, then dropped, oldest first, and counted."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pytest

from convoq.logs import configure, flush, log
from convoq.logs.bounded import CAPACITY_BYTES, BoundedWriter, printing_through
from convoq.logs.output import SharedOutput, open_output

RECORD = b"x" * 999 + b"\n"
LONGEST_WAIT = 10  # seconds; nothing takes this long when all is well


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """A write that blocks must fail the test, not hang the suite."""

    def late(*_: object) -> None:
        raise AssertionError("something waits for a reader")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_WAIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@dataclass
class Wire:
    """Something that a log is written to, and its reading end."""

    stream: TextIO
    reader: int

    def lines(self, count: int) -> list[bytes]:
        """The next `count` lines, as whoever reads again gets them."""
        data = b""
        while data.count(b"\n") < count:
            data += os.read(self.reader, 65536)
        return data.splitlines()

    def until(self, wanted: bytes) -> list[bytes]:
        data = b""
        while not (data.endswith(b"\n") and wanted in data.splitlines()[-1]):
            data += os.read(self.reader, 65536)
        return data.splitlines()


def pipe(stack: ExitStack) -> Wire:
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    return Wire(stack.enter_context(open(writer, "w")), reader)  # noqa: PTH123  # descriptors have no path


def terminal(stack: ExitStack) -> Wire:
    reader, writer = pty.openpty()
    attributes = termios.tcgetattr(writer)
    attributes[1] &= ~termios.OPOST  # a newline stays one byte
    termios.tcsetattr(writer, termios.TCSANOW, attributes)
    stack.callback(os.close, reader)
    return Wire(stack.enter_context(open(writer, "w")), reader)  # noqa: PTH123  # descriptors have no path


def journal(stack: ExitStack) -> Wire:
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    stack.enter_context(reading)
    stack.enter_context(writing)
    return Wire(stack.enter_context(os.fdopen(os.dup(writing.fileno()), "w")), reading.fileno())


def fill(writer: int) -> None:
    """Leaves no room in an empty pipe; what is in it is one line."""
    os.write(writer, b"-" * (fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) - 1) + b"\n")


@pytest.fixture(params=[pipe, terminal, journal])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with ExitStack() as stack:
        yield request.param(stack)


@pytest.fixture
def unread() -> Iterator[Wire]:
    with ExitStack() as stack:
        yield pipe(stack)


def numbered(records: list[bytes]) -> list[int]:
    return [event["number"] for event in map(json.loads, records) if event["event"] == "a.b"]


def test_what_is_not_read_holds_nothing_up_and_is_there_when_it_is_read_again(wire: Wire) -> None:
    configure("info", "json", stream=wire.stream)
    for number in range(2000):
        log.info("a.b", number=number, text="x" * 300)
    assert numbered(wire.lines(2000)) == list(range(2000))


def test_the_oldest_are_dropped_and_their_count_stands_in_their_place(wire: Wire) -> None:
    configure("error", "json", "work", stream=wire.stream)
    count = 2 * CAPACITY_BYTES // 1000
    for number in range(count):
        log.error("a.b", number=number, text="x" * 1000)
    records = wire.until(b'"number":%d,' % (count - 1))
    [(place, said)] = [(place, record) for place, record in enumerate(records) if b"log.dropped" in record]
    notice = json.loads(said)
    numbers = numbered(records)
    assert (notice["level"], notice["role"], notice["records"]) == ("warning", "work", count - len(numbers))
    before, after = numbers[:place], numbers[place:]
    assert before == list(range(len(before)))
    assert after == list(range(count - len(after), count))
    log.error("a.b", number=count)
    assert numbered(wire.lines(1)) == [count]


def test_a_stopped_terminal_holds_nothing_up() -> None:
    with ExitStack() as stack:
        wire = terminal(stack)
        configure("info", "json", stream=wire.stream)
        termios.tcflow(wire.stream.fileno(), termios.TCOOFF)  # Ctrl-S
        for number in range(10):
            log.info("a.b", number=number)
        termios.tcflow(wire.stream.fileno(), termios.TCOON)
        assert numbered(wire.lines(10)) == list(range(10))


def test_others_that_share_the_pipe_go_on_blocking(unread: Wire) -> None:
    configure("info", "json", stream=unread.stream)
    assert os.get_blocking(unread.stream.fileno())


def test_a_pipe_that_cannot_be_opened_again_is_left_to_the_thread(unread: Wire, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    with (tmp_path / "fifo").open("w") as stream:
        os.close(reader)  # without a reader it can't be opened for writing
        assert isinstance(open_output(stream), SharedOutput)
    bounded = BoundedWriter(SharedOutput(unread.stream), _notice)
    for _ in range(200):
        bounded.write(RECORD)
    assert unread.lines(200) == [RECORD.strip()] * 200


def _notice(lost: int) -> bytes:
    return b"dropped %d\n" % lost


class Disk:
    """A file whose disk is full at will; `torn`: the next write takes so many bytes and is the last with room."""

    def __init__(self) -> None:
        self.data = b""
        self.full = False
        self.torn: int | None = None

    def write(self, data: bytes) -> int:
        if self.full:
            raise OSError("No space left on device")
        if self.torn is not None:
            data, self.torn, self.full = data[: self.torn], None, True
        self.data += data
        return len(data)

    write_patiently = write


def test_what_a_full_disk_refused_is_counted_when_there_is_room_again() -> None:
    disk = Disk()
    writer = BoundedWriter(disk, _notice)
    disk.full = True
    for _ in range(3):
        writer.write(b"lost\n")
    disk.full = False
    writer.write(b"kept\n")
    writer.write(b"next\n")
    assert disk.data == b"dropped 3\nkept\nnext\n"


def test_after_a_record_that_was_cut_off_the_next_begins_a_line() -> None:
    disk = Disk()
    writer = BoundedWriter(disk, _notice)
    disk.torn = 2
    writer.write(b"torn\n")
    assert writer.flush(LONGEST_WAIT)
    disk.full = False
    writer.write(b"next\n")
    assert disk.data == b"to\ndropped 1\nnext\n"


def test_a_record_that_no_capacity_holds_is_counted(unread: Wire) -> None:
    writer = BoundedWriter(open_output(unread.stream), _notice, capacity=1000)
    fill(unread.stream.fileno())
    writer.write(b"y" * 2000 + b"\n")
    writer.write(b"last\n")
    assert unread.until(b"last")[1:] == [b"dropped 1", b"last"]


def test_flush_waits_no_longer_than_it_may_and_says_so(unread: Wire) -> None:
    writer = BoundedWriter(open_output(unread.stream), _notice)
    for _ in range(200):
        writer.write(RECORD)
    assert not writer.flush(0.05)
    reading = threading.Thread(target=unread.lines, args=(200,))
    reading.start()
    assert writer.flush(LONGEST_WAIT)
    reading.join()


def test_no_writer_of_many_threads_overtakes_itself_or_tears_a_line(unread: Wire) -> None:
    configure("info", "json", stream=unread.stream)

    def write(thread: int) -> None:
        for number in range(300):
            log.info("a.b", thread=thread, number=number, text="x" * 200)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    records = [json.loads(line) for line in unread.lines(1200)]
    for thread in threads:
        thread.join()
    for number in range(4):
        assert [record["number"] for record in records if record["thread"] == number] == list(range(300))


# --- What is printed


@pytest.fixture
def printed(unread: Wire) -> Iterator[TextIO]:
    stream = printing_through(BoundedWriter(open_output(unread.stream), _notice), unread.stream)
    yield stream
    flush(0)


def test_printing_waits_for_no_reader_and_comes_out_verbatim(unread: Wire, printed: TextIO) -> None:
    for number in range(2000):
        print("line", number, "x" * 100, file=printed)
    assert unread.lines(2000)[1999] == b"line 1999 " + b"x" * 100


def test_a_line_goes_out_when_it_is_whole_and_at_the_end(unread: Wire, printed: TextIO) -> None:
    print("a", end="", flush=True, file=printed)
    print("b", file=printed)
    assert unread.lines(1) == [b"ab"]
    print("no newline", end="", flush=True, file=printed)
    flush()
    assert unread.lines(1) == [b"no newline"]


def test_a_line_without_end_is_ended(unread: Wire, printed: TextIO) -> None:
    printed.write("x" * 100_000)
    printed.flush()
    assert len(unread.lines(1)[0]) > 65_000


def test_the_stream_still_says_what_it_is(unread: Wire, printed: TextIO) -> None:
    assert printed.fileno() == unread.stream.fileno()
    assert not printed.isatty()


# --- The end of a process


def run(code: str, stderr: int, **options: Any) -> subprocess.Popen[bytes]:
    setup = "from convoq import logs\nlogs.configure('info', 'json', shield_printing=True)\n"
    return subprocess.Popen([sys.executable, "-c", setup + code], stderr=stderr, **options)


def full_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    fill(writer)
    return reader, writer


def everything(reader: int) -> list[bytes]:
    with os.fdopen(reader, "rb") as stream:
        return stream.read().splitlines()[1:]


LAST_WORDS = """
for number in range(3):
    logs.log.info("a.b", number=number)
print("printed", flush=True)
import sys
print("said", file=sys.stderr)
"""


@pytest.mark.parametrize("end", ["", "logs.flush(); import os; os._exit(1)", "raise RuntimeError('boom')"])
def test_the_last_words_of_a_process_come_out_when_they_are_read_in_time(end: str) -> None:
    reader, writer = full_pipe()
    process = run(LAST_WORDS + end, writer, stdout=subprocess.PIPE)
    os.close(writer)
    assert process.stdout is not None
    assert process.stdout.read(8) == b"printed\n"
    lines = everything(reader)
    process.communicate()
    assert numbered(lines[:3]) == [0, 1, 2]
    assert lines[3] == b"said"
    assert (b"RuntimeError: boom" in lines) == ("boom" in end)


def test_the_end_of_a_process_waits_a_moment_for_a_reader_and_no_longer() -> None:
    reader, writer = full_pipe()
    process = run(LAST_WORDS, writer, stdout=writer)
    assert process.wait(LONGEST_WAIT) == 0
    os.close(writer)
    assert everything(reader) == []


def test_what_was_logged_before_a_kill_is_out_where_it_is_read() -> None:
    code = "import os\nfor number in range(100): logs.log.info('a.b', number=number)\nos.kill(os.getpid(), 9)"
    process = run(code, subprocess.PIPE)
    assert process.stderr is not None
    assert numbered(process.stderr.read().splitlines()) == list(range(100))
    process.communicate()


def test_a_forked_child_neither_repeats_nor_hangs() -> None:
    code = """
import os
for number in range(2): logs.log.info("a.b", number=number)
if (child := os.fork()) == 0:
    logs.log.info("a.b", number=2)
    logs.flush()
    os._exit(0)
print("forked", flush=True)
os.waitpid(child, 0)
"""
    reader, writer = full_pipe()
    process = run(code, writer, stdout=subprocess.PIPE)
    os.close(writer)
    assert process.stdout is not None
    assert process.stdout.read(7) == b"forked\n"
    assert sorted(numbered(everything(reader))) == [0, 1, 2]
    process.communicate()
