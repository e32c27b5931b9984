-- How operators come to the pages of the console: a link that works once, then a session. Of both the SHA-256 alone.
CREATE TABLE sign_in_links (
    hash TEXT PRIMARY KEY,
    operator TEXT NOT NULL,
    role TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    operator TEXT NOT NULL,
    role TEXT NOT NULL,
    agent TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    ended_at INTEGER,
    ended_by TEXT
) STRICT;
CREATE INDEX sessions_operator ON sessions (operator);

CREATE TRIGGER clock_corrected_sessions INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE sign_in_links SET
        made_at = made_at + iif(made_at BETWEEN new.since AND new.until, new.by_ms, 0),
        used_at = used_at + iif(used_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE sessions SET
        made_at = made_at + iif(made_at BETWEEN new.since AND new.until, new.by_ms, 0),
        seen_at = seen_at + iif(seen_at BETWEEN new.since AND new.until, new.by_ms, 0),
        ended_at = ended_at + iif(ended_at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
