-- Replies of the AI without an hour's pause between two of them, and when the last one was: what a loop shows in.
ALTER TABLE threads ADD COLUMN replies INTEGER NOT NULL DEFAULT 0;
ALTER TABLE threads ADD COLUMN replied_at INTEGER NOT NULL DEFAULT 0;
-- When the person wrote last, by the wall clock: the queue's does not count while a virtual machine is paused.
ALTER TABLE threads ADD COLUMN last_inbound_wall INTEGER;
-- When an answer was committed that tells the person that an AI gives it.
ALTER TABLE contacts ADD COLUMN disclosed_at INTEGER;

-- How fast each address of ours sends: its airtime is taken up to free_at, and what waits for it comes until
-- queued_until. A part that waits comes back at held_until.
CREATE TABLE senders (
    channel TEXT NOT NULL,
    our_address TEXT NOT NULL,
    free_at INTEGER NOT NULL,
    queued_until INTEGER NOT NULL,
    PRIMARY KEY (channel, our_address)
) STRICT, WITHOUT ROWID;
ALTER TABLE outbox ADD COLUMN held_until INTEGER;

CREATE TRIGGER clock_corrected_rules INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE threads SET replied_at = replied_at + iif(replied_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE contacts SET disclosed_at = disclosed_at + iif(disclosed_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE senders SET free_at = free_at + new.by_ms, queued_until = queued_until + new.by_ms;
    UPDATE outbox SET held_until = held_until + new.by_ms WHERE state = 'ready';
END;
