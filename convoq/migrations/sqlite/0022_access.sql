-- What programs come in with: of each token its SHA-256 alone.
CREATE TABLE access_tokens (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    operator TEXT NOT NULL,
    role TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER,
    revoked_by TEXT
) STRICT;
CREATE INDEX access_tokens_operator ON access_tokens (operator);
-- What was answered to a request that may come again under the same key. An erasure of who the answer is about takes it.
CREATE TABLE idempotency_keys (
    hash TEXT PRIMARY KEY,
    request_hash TEXT NOT NULL,
    answered_at INTEGER NOT NULL,
    answer TEXT NOT NULL,
    contact_id INTEGER REFERENCES contacts (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_answered ON idempotency_keys (answered_at);
CREATE INDEX idempotency_keys_contact ON idempotency_keys (contact_id) WHERE contact_id IS NOT NULL;
-- Which way an act came, where it is not the command line.
ALTER TABLE audit ADD COLUMN way TEXT;

CREATE TRIGGER clock_corrected_access INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE access_tokens SET
        made_at = made_at + iif(made_at BETWEEN new.since AND new.until, new.by_ms, 0),
        used_at = used_at + iif(used_at BETWEEN new.since AND new.until, new.by_ms, 0),
        revoked_at = revoked_at + iif(revoked_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE idempotency_keys SET
        answered_at = answered_at + iif(answered_at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
