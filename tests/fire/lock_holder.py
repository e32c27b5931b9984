"""A foreign program that takes the whole database for a while: `python lock_holder.py FILE SECONDS`."""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path


def hold(path: Path, seconds: float) -> None:
    """Holds BEGIN EXCLUSIVE for that long; says "held" once it has it."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    sys.stdout.write("held\n")
    sys.stdout.flush()
    time.sleep(seconds)  # the length of the harm: nothing is waited for
    connection.execute("ROLLBACK")
    connection.close()


if __name__ == "__main__":
    hold(Path(sys.argv[1]), float(sys.argv[2]))
