"""A role's event loop: only signals and the role itself end it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class RoleLoop(asyncio.SelectorEventLoop):
    """Goes on when a callback raises SystemExit or KeyboardInterrupt while a role runs.

    Handlers of a user's own may call anything back, and asyncio lets these two end the loop whatever raised them.
    """

    _role_runs = False

    def run_forever(self) -> None:
        while True:
            try:
                super().run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                if not self._role_runs:
                    raise
                self.call_exception_handler({"message": "a callback tried to end the process", "exception": error})
            else:
                return

    @contextmanager
    def running_role(self) -> Iterator[None]:
        """For as long as signals are handled: until then Ctrl-C is a KeyboardInterrupt that has to end the loop."""
        self._role_runs = True
        try:
            yield
        finally:
            self._role_runs = False
