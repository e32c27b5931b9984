"""`convoq demo` in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import psycopg
import pytest

from convoq.demo.transcript import DemoOutput
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.long

RUN = "import sys; from convoq.demo.command import run; sys.exit(run())"
ON_SERVERS = """
import sys
from convoq.demo.command import run
sys.exit(run(**{servers}))
"""
# Only the processes read it: the site itself has its options by then.
BROKEN = """
from convoq.loopback.process import RoleProcess
whole = RoleProcess.__init__
def broken(self, role, environ, **named):
    whole(self, role, {**environ, "CONVOQ_SERVER__PORT": "none"}, **named)
RoleProcess.__init__ = broken
"""


def demo(tmp_path: Path, code: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), **environ},
    )  # fmt: skip


@pytest.mark.process
def test_every_promise_is_kept_and_nothing_is_left_behind(tmp_path: Path) -> None:
    # What the user has configured must neither help nor disturb.
    (tmp_path / "convoq.toml").write_text("nonsense = true\n")
    process = demo(tmp_path, RUN, CONVOQ_AI__MODEL="openai:gpt-5-mini", CONVOQ_TYPO="x")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, ""), output
    assert "11 accepted, 10 answered by the AI, 1 by Marta" in output
    assert "✗" not in output
    assert "\x1b" not in output
    assert [path.name for path in tmp_path.iterdir()] == ["convoq.toml"]


@pytest.mark.process
@pytest.mark.parametrize("redis", [False, True], ids=["queue in the database", "queue on Redis"])
def test_every_promise_is_kept_on_servers_and_nothing_is_left_there(
    tmp_path: Path, postgres_url: str, redis_server: RedisServer, redis: bool
) -> None:
    servers = {"database_url": postgres_url} | ({"redis_url": redis_server.url} if redis else {})
    process = demo(tmp_path, ON_SERVERS.format(servers=servers))
    output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, ""), output
    assert "11 accepted, 10 answered by the AI, 1 by Marta" in output
    with psycopg.connect(postgres_url) as connection:
        schemas = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'convoq%'").fetchone()
    with redis_server.server.connect_blocking() as client:
        assert (schemas, list(client.scan_iter("*convoq-demo*"))) == ((0,), [])


@pytest.mark.process
def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    process = demo(tmp_path, ON_SERVERS.format(servers={"database_url": "postgresql://convoq@127.0.0.1:9/convoq"}))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "")
    assert output.splitlines()[-1].startswith("✗ postgresql://127.0.0.1:9/convoq: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_failure_says_so_and_leaves_the_logs(tmp_path: Path) -> None:
    process = demo(tmp_path, BROKEN + RUN)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "")
    # All three read the broken setting, and any of them may be the first to say so.
    ended = re.search(r"`convoq (\w+)` ended with exit code 78 before it was ready", output)
    assert ended is not None, output
    (kept,) = tmp_path.glob("convoq-demo-*")
    assert str(kept) in output
    assert "CONVOQ_SERVER__PORT" in (kept / f"{ended[1]}.log").read_text()


@pytest.mark.process
def test_ctrl_c_tidies_up(tmp_path: Path) -> None:
    process = demo(tmp_path, RUN)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    running = next(line for line in lines if line.startswith("Running:"))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert output.endswith("Interrupted.\n")
    assert list(tmp_path.iterdir()) == []
    for pid in [int(word.strip("),")) for word in running.split() if word.strip("),\n").isdigit()]:
        assert not Path(f"/proc/{pid}").exists()


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them() -> None:
    assert "\x1b[1m" in DemoOutput(Terminal(), {}).style("x", "bold")
    assert DemoOutput(Terminal(), {"NO_COLOR": "1"}).style("x", "bold") == "x"
    assert DemoOutput(StringIO(), {}).style("x", "bold") == "x"


def test_what_people_wrote_cannot_steer_the_terminal() -> None:
    out = StringIO()
    DemoOutput(out, {}).block("> ", "a\x1b[2Jb\x07", "")
    assert out.getvalue() == "> a�[2Jb�\n"
