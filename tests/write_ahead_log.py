"""The frames of a write-ahead log (sqlite.org/fileformat2.html, section 4.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

WAL_HEADER, FRAME_HEADER = 32, 24


def frames(log: bytes) -> Iterator[tuple[int, bool]]:
    """Where each frame ends, and whether a transaction ends with it; what an older run left is none."""
    (page,) = struct.unpack(">I", log[8:12])
    salts = log[16:24]
    begin = WAL_HEADER
    while page and begin + FRAME_HEADER + page <= len(log) and log[begin + 8 : begin + 16] == salts:
        (pages_after_commit,) = struct.unpack(">I", log[begin + 4 : begin + 8])
        begin += FRAME_HEADER + page
        yield begin, bool(pages_after_commit)


def commits(log: bytes) -> list[int]:
    """Where each transaction ends."""
    return [end for end, is_commit in frames(log) if is_commit]


def end_of(log: bytes) -> int:
    """Where the newest transaction ends; 0 where there is none."""
    return max(commits(log), default=0)
