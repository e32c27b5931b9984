"""The one SQLite file: durable group commits, consistent reads, migrations."""

from convoq.db.birth import OpenMode
from convoq.db.database import Database
from convoq.db.writer import Unit

__all__ = ["Database", "OpenMode", "Unit"]
