"""A real worker without the token and without "every shown message still waits", which stops itself once at a step.

`python unfenced_worker.py STEP work`; the steps are those of `stopping_worker`.
"""

from __future__ import annotations

import sys
from typing import Any

from convoq.cli import main
from convoq.conversations import outbox, turns
from tests.fire.stopping_worker import arm


def take_the_rules_out() -> None:
    vars(turns)["require_token"] = vars(outbox)["require_token"] = _nothing
    vars(turns)["_all_wait"] = _always
    vars(turns)["is_overtaken"] = _never


def _nothing(*_: Any) -> None:
    return None


def _always(*_: Any) -> bool:
    return True


def _never(*_: Any) -> bool:
    return False


if __name__ == "__main__":
    take_the_rules_out()
    arm(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
