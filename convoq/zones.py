"""Time zones by their names."""

from __future__ import annotations

import difflib
import zoneinfo
from datetime import UTC, tzinfo


def zone_named(name: str) -> tzinfo:
    """Raises ValueError, which says what was probably meant."""
    if name.upper() == "UTC":
        return UTC  # known also where no zone files are installed
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f'unknown timezone "{name}"{_advice(name)}') from error


def _advice(name: str) -> str:
    zones = zoneinfo.available_timezones()
    if not zones:
        return ": no time zones are installed here; install the package tzdata"
    by_lowercase = {zone.lower(): zone for zone in sorted(zones)}
    close = difflib.get_close_matches(name.lower().replace(" ", "_"), by_lowercase, n=1)
    return f"; did you mean {by_lowercase[close[0]]}?" if close else '; write it like "Europe/Madrid"'
