"""A real worker that waits but a moment for a handler beyond its deadline: `python impatient_worker.py work`."""

from __future__ import annotations

import sys
from functools import partial

from convoq import worker
from convoq.cli import main

if __name__ == "__main__":
    worker.WorkerTimings = partial(worker.WorkerTimings, cancel_grace=0.2)  # type: ignore[misc,assignment] # a factory for a class
    sys.exit(main(sys.argv[1:]))
