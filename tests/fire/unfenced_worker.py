"""A real worker without the token and without "every shown message still waits", which stops itself once at a step.

Nor does it end a turn whose lease it has lost: woken late, it would else find that out before it commits, or not.

`python unfenced_worker.py STEP work`; the steps are those of `stopping_worker`.
"""

from __future__ import annotations

import sys
from typing import Any

from convoq.cli import main
from convoq.conversations import outbox, turns
from convoq.worker import Worker
from tests.fire.stopping_worker import arm


def take_the_rules_out() -> None:
    for module, name, rule in (
        (turns, "require_token", _nothing),
        (outbox, "require_token", _nothing),
        (turns, "all_wait", _always),
        (turns, "is_overtaken", _never),
    ):
        if name not in vars(module):
            raise LookupError(f"{module.__name__} has no {name} any more: nothing would be taken out")
        vars(module)[name] = rule
    setattr(Worker, "_cancel_lost", _nothing)  # noqa: B010 # a private method, taken out on purpose


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
