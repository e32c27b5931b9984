"""Each record is written in one piece, and never at the cost of the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from convoq.logs import configure, log
from tests.logs.conftest import written


def test_the_journal_gets_a_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryFile("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        configure("info", "json", stream=stream)
        structlog.get_logger().info("a.b")
        structlog.get_logger().warning("c.d")
        structlog.get_logger().error("e.f", exc_info=OSError())
        configure("info", "console", stream=stream)
        structlog.get_logger().error("e.f", exc_info=OSError("x"))
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line[:3] for line in lines[:3]] == ["<6>", "<4>", "<3>"]
    assert len(lines) > 4
    assert all(line.startswith("<3>") for line in lines[3:])


def test_a_file_beside_the_journal_gets_no_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    with tempfile.TemporaryFile("w+") as stream:
        configure("info", "json", stream=stream)
        structlog.get_logger().info("a.b")
        stream.seek(0)
        assert stream.read().startswith("{")


def test_a_log_that_cannot_be_written_harms_nobody() -> None:
    stream = written()
    stream.close()
    structlog.get_logger().info("a.b")


def test_a_closed_file_is_not_written_to_by_its_number(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w")
    configure("info", "json", stream=stream)
    number = stream.fileno()
    stream.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    assert other == number
    log.info("a.b")
    assert os.fstat(other).st_size == 0
    os.close(other)


def test_each_record_is_out_when_its_event_returns(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        configure("info", "json", stream=stream)
        log.info("a.b")
        assert (tmp_path / "log").read_text().endswith("}\n")


def test_text_that_the_stream_cannot_encode_is_escaped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        configure("info", "console", stream=stream)
        log.info("a.b", text="héé")
        assert "text=h\\xe9\\xe9" in (tmp_path / "log").read_text()


def test_a_stream_that_does_not_block_tears_no_record() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb") as pipe, open(writer, "w") as stream:  # noqa: PTH123  # descriptors have no path
        configure("info", "json", stream=stream)
        sizes = [100, 15_000, 3_000, 1]
        for number in range(70):
            log.info("a.b", number=number, text="x" * sizes[number % 4])
        assert [json.loads(pipe.readline())["number"] for _ in range(70)] == list(range(70))


def test_a_slow_reader_gets_everything_that_is_read_in_time() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb") as pipe, open(writer, "w") as stream:  # noqa: PTH123  # descriptors have no path
        configure("info", "json", stream=stream)
        with ThreadPoolExecutor(1) as pool:
            lines = pool.submit(lambda: [json.loads(pipe.readline())["number"] for _ in range(100)])
            for number in range(100):
                log.info("a.b", number=number, text="x" * 15_000)
            assert lines.result() == list(range(100))


def test_events_go_to_standard_error_even_when_nobody_reads_it() -> None:
    code = "import structlog; from convoq.logs import configure; configure(); log = structlog.get_logger();"
    run = subprocess.run([sys.executable, "-c", code + "log.info('a.b')"], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    assert json.loads(run.stderr)["event"] == "a.b"
    read, write = os.pipe()
    os.close(read)
    child = [sys.executable, "-c", code + "[log.info('a.b') for _ in range(9)]; print('alive')"]
    assert subprocess.run(child, stdout=subprocess.PIPE, stderr=write, check=False).stdout == b"alive\n"
    os.close(write)
