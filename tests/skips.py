"""What a test may be skipped for also in CI."""

from __future__ import annotations

from typing import Final

#: Begins the reason where a package would not help: the kernel or the user is what the test cannot have.
NOT_TO_BE_INSTALLED: Final = "this machine cannot"
