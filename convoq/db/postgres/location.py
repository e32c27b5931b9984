"""What a database's URL says to people, without its driver."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit


def location_of(url: str) -> str:
    """The URL without what is secret or beside the point."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ()))
    return f"postgresql://{host}{parts.path}"
