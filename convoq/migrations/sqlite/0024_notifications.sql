-- Who is told of what: the webhook, the mailbox. `events` has a space around each.
CREATE TABLE notify_targets (
    name TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    events TEXT NOT NULL,
    -- Since when it has taken nothing, and why; when it said that it is gone for good.
    failing_at INTEGER,
    error TEXT,
    gone_at INTEGER
) STRICT, WITHOUT ROWID;

-- What called for a person: while it lasts, and until it may be told again.
CREATE TABLE alarms (
    cause TEXT PRIMARY KEY,
    event TEXT NOT NULL,
    conversation_id INTEGER REFERENCES conversations (id),
    facts TEXT NOT NULL,
    raised_at INTEGER NOT NULL,
    told_at INTEGER,
    -- How often it arose since it was told; whether it lasts; whether that was told.
    untold INTEGER NOT NULL DEFAULT 1,
    is_open INTEGER NOT NULL DEFAULT 1,
    is_told INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX alarms_untold ON alarms (told_at) WHERE untold > 0;
CREATE INDEX alarms_open ON alarms (event) WHERE is_open = 1;
CREATE INDEX alarms_raised ON alarms (raised_at);
CREATE INDEX alarms_of_conversation ON alarms (conversation_id) WHERE conversation_id IS NOT NULL;
-- What it consists of, where it is over with the last of them: dead letters.
CREATE TABLE alarm_items (
    item TEXT PRIMARY KEY,
    cause TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX alarm_items_of ON alarm_items (cause);

-- What is to be told to one target, or was: facts without texts and numbers. `message_id` stays over all tries.
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL,
    message_id TEXT NOT NULL,
    event TEXT NOT NULL,
    conversation_id INTEGER REFERENCES conversations (id),
    facts TEXT NOT NULL,
    at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('ready', 'sent', 'failed', 'dropped')),
    tries INTEGER NOT NULL DEFAULT 0,
    -- When a job was last enqueued for it.
    woken_at INTEGER NOT NULL DEFAULT 0,
    settled_at INTEGER,
    ended_by TEXT
) STRICT;
CREATE INDEX notifications_ready ON notifications (target, id) WHERE state = 'ready';
CREATE INDEX notifications_ended ON notifications (ended_by) WHERE ended_by IS NOT NULL;
CREATE INDEX notifications_of_conversation ON notifications (conversation_id, id) WHERE conversation_id IS NOT NULL;

CREATE TRIGGER clock_corrected_notifications INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE notify_targets SET
        failing_at = failing_at + iif(failing_at BETWEEN new.since AND new.until, new.by_ms, 0),
        gone_at = gone_at + iif(gone_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE alarms SET
        raised_at = raised_at + iif(raised_at BETWEEN new.since AND new.until, new.by_ms, 0),
        told_at = told_at + iif(told_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE notifications SET
        at = at + iif(at BETWEEN new.since AND new.until, new.by_ms, 0),
        woken_at = woken_at + iif(woken_at BETWEEN new.since AND new.until, new.by_ms, 0),
        settled_at = settled_at + iif(settled_at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
