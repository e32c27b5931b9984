-- The people of ours who may act; until there is one, anybody who can reach the database may.
CREATE TABLE operators (
    name TEXT PRIMARY KEY,
    added_at INTEGER NOT NULL,
    added_by TEXT NOT NULL,
    removed_at INTEGER,
    removed_by TEXT
) STRICT, WITHOUT ROWID;

CREATE TRIGGER clock_corrected_operators INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE operators SET
        added_at = added_at + iif(added_at BETWEEN new.since AND new.until, new.by_ms, 0),
        removed_at = removed_at + iif(removed_at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
