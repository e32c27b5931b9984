-- Who answers, under which name, since when. `waiting`: for a person of ours who has not come yet. (A column in the place
-- of the old one: SQLite changes no CHECK.)
DROP INDEX conversations_by_state;
ALTER TABLE conversations ADD COLUMN answers TEXT NOT NULL DEFAULT 'ai'
    CHECK (answers IN ('ai', 'waiting', 'human', 'nobody'));
UPDATE conversations SET answers = owner WHERE owner <> 'ai';
ALTER TABLE conversations DROP COLUMN owner;
ALTER TABLE conversations RENAME COLUMN answers TO owner;
CREATE INDEX conversations_by_state ON conversations (status, owner);
ALTER TABLE conversations ADD COLUMN owner_name TEXT;
ALTER TABLE conversations ADD COLUMN owner_at INTEGER;
-- Grows with each change, so that who has looked at an older one can be told.
ALTER TABLE conversations ADD COLUMN owner_version INTEGER NOT NULL DEFAULT 0;
-- When the person of ours did something in it last.
ALTER TABLE conversations ADD COLUMN owner_acted_at INTEGER;
ALTER TABLE conversations ADD COLUMN handed_reason TEXT;
-- When the customer was told that nobody is free.
ALTER TABLE conversations ADD COLUMN told_at INTEGER;

-- Which person of ours wrote it; how often it was given back to the AI, unanswered.
ALTER TABLE messages ADD COLUMN written_by TEXT;
ALTER TABLE messages ADD COLUMN returned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_for_person ON messages (conversation_id, id) WHERE outcome = 'human' AND answered_by IS NULL;

-- Apart from messages: nobody outside ever reads them.
CREATE TABLE operator_notes (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    at INTEGER NOT NULL,
    wall_at INTEGER NOT NULL,
    who TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX operator_notes_of_conversation ON operator_notes (conversation_id, id);

-- Where the AI says nothing: 'all', 'number:ADDRESS' of ours, 'thread:ID'.
CREATE TABLE ai_pauses (
    scope TEXT PRIMARY KEY,
    paused_at INTEGER NOT NULL,
    who TEXT NOT NULL,
    reason TEXT
) STRICT, WITHOUT ROWID;

-- What people of ours did.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    act TEXT NOT NULL,
    conversation_id INTEGER REFERENCES conversations (id),
    subject TEXT,
    detail TEXT
) STRICT;

CREATE TRIGGER clock_corrected_owners INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE conversations SET
        owner_at = owner_at + iif(owner_at BETWEEN new.since AND new.until, new.by_ms, 0),
        owner_acted_at = owner_acted_at + iif(owner_acted_at BETWEEN new.since AND new.until, new.by_ms, 0),
        told_at = told_at + iif(told_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE operator_notes SET at = at + iif(at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE ai_pauses SET paused_at = paused_at + iif(paused_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE audit SET at = at + iif(at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
