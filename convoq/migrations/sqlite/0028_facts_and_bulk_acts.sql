-- What people of ours have written down of a person, for the AI and for each other; and who has given the name, where it
-- is not the person's own.
CREATE TABLE contact_facts (
    id INTEGER PRIMARY KEY,
    contact_id INTEGER NOT NULL REFERENCES contacts (id),
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX contact_facts_of ON contact_facts (contact_id, id);
ALTER TABLE contacts ADD COLUMN named_by TEXT;

-- Erasures that a worker is to bring to their end. `addresses` is what jobs are known by that name the person, and is
-- taken out before the files are written anew.
CREATE TABLE erasures (
    id INTEGER PRIMARY KEY,
    contacts TEXT NOT NULL,
    addresses TEXT NOT NULL,
    through_at INTEGER NOT NULL,
    who TEXT NOT NULL,
    way TEXT,
    jobs INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One act on many jobs: which, and how far it has come. `cursor`: the last job that was looked at.
CREATE TABLE bulk_acts (
    id INTEGER PRIMARY KEY,
    act TEXT NOT NULL,
    filter TEXT NOT NULL,
    who TEXT NOT NULL,
    way TEXT,
    state TEXT NOT NULL CHECK (state IN ('running', 'stopping', 'done', 'stopped', 'failed')),
    total INTEGER NOT NULL,
    changed INTEGER NOT NULL DEFAULT 0,
    left_alone INTEGER NOT NULL DEFAULT 0,
    cursor TEXT,
    through TEXT,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER,
    error TEXT
) STRICT;
CREATE INDEX bulk_acts_running ON bulk_acts (id) WHERE ended_at IS NULL;

-- Why a person of ours is awaited, for figures: the words of `reason` are for people.
ALTER TABLE transitions ADD COLUMN code TEXT;
CREATE INDEX transitions_handed ON transitions (at) WHERE owner_after = 'waiting' AND owner_before <> 'waiting';

CREATE TRIGGER clock_corrected_steps INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE contact_facts SET at = at + iif(at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE erasures SET
        through_at = through_at + iif(through_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE bulk_acts SET
        begun_at = begun_at + iif(begun_at BETWEEN new.since AND new.until, new.by_ms, 0),
        ended_at = ended_at + iif(ended_at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
