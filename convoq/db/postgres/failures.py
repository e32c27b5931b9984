"""PostgreSQL's errors, told apart and put into an operator's words."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from convoq.errors import DatabaseRefused, DatabaseUnavailable

#: Two transactions were in each other's way: run again, a unit sees what the other one did. A key that is taken may be
#: the same: the other one took it since this one looked.
CONFLICTS: Final = (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation)

#: What PostgreSQL says in English (its texts follow the server's lc_messages) where trying again is no help.
REMEDIES: Final = {
    "password authentication failed": "give the right one as database.password",
    "no password supplied": "give it as database.password",
    "no pg_hba.conf entry": "allow it in pg_hba.conf",
    "does not exist": "create it, or correct database.url",
    "permission denied": "GRANT CREATE ON SCHEMA public TO the user that convoq connects as, who owns its tables",
    "does not support SSL": "correct sslmode in database.url",
    "certificate": "correct sslmode or sslrootcert in database.url, or the server's certificate",
}


ENVIRONMENTAL: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,  # the server has become a standby, or its administrator has it only read
    errors.FeatureNotSupported,  # what a standby says of a serializable transaction; no statement of ours gets it else
    errors.IdleInTransactionSessionTimeout,  # this process was stopped inside a transaction, and was cut off
    errors.InsufficientPrivilege,
)


def refused(location: str, error: psycopg.Error) -> DatabaseRefused | None:
    """As it is said at start, of what no new try helps against."""
    words = first_line(error)
    remedy = next((remedy for sign, remedy in REMEDIES.items() if sign in words), None)
    return None if remedy is None else DatabaseRefused(f"{location}: {words}: {remedy}")


def unavailable(location: str, error: psycopg.Error) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"{location}: {first_line(error)}")


def is_environmental(error: psycopg.Error) -> bool:
    """Whether the server, its disk or the way to it is at fault, not the statement."""
    return isinstance(error, ENVIRONMENTAL)


def first_line(error: psycopg.Error) -> str:
    """The server's own words, or the driver's: a password is in none of them."""
    words = error.diag.message_primary or next(iter(str(error).splitlines()), type(error).__name__)
    return words.removeprefix("connection failed: ").strip()
