-- Both clocks at one moment, kept by every process that announces itself: the next boot knows from it how long the machine
-- was down, and whether the date was right.
ALTER TABLE clock ADD COLUMN seen_at INTEGER;
ALTER TABLE clock ADD COLUMN wall_at INTEGER;

CREATE TRIGGER clock_seen_first AFTER INSERT ON processes
BEGIN
    UPDATE clock SET seen_at = new.seen_at, wall_at = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER);
END;
CREATE TRIGGER clock_seen_again AFTER UPDATE OF seen_at ON processes
BEGIN
    UPDATE clock SET seen_at = new.seen_at, wall_at = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER);
END;

-- Whoever sets the queue's clock after a boot with a wrong date corrects by this name all times that it has dated, so
-- that only the owners of the tables know them. What is due keeps the time that it had left, whichever boot it is from.
CREATE VIEW clock_corrections (by_ms, since, until) AS SELECT 0, 0, 0 WHERE false;
CREATE TRIGGER clock_corrected INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE lanes SET due_at = due_at + new.by_ms, crashed_at = crashed_at + new.by_ms;
    UPDATE jobs SET
        enqueued_at = enqueued_at + iif(enqueued_at BETWEEN new.since AND new.until, new.by_ms, 0),
        claimed_at = claimed_at + iif(claimed_at BETWEEN new.since AND new.until, new.by_ms, 0),
        finished_at = finished_at + iif(finished_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE dedup SET
        enqueued_at = enqueued_at + iif(enqueued_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE processes SET
        started_at = started_at + iif(started_at BETWEEN new.since AND new.until, new.by_ms, 0),
        seen_at = seen_at + iif(seen_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE contacts SET
        first_seen_at = first_seen_at + iif(first_seen_at BETWEEN new.since AND new.until, new.by_ms, 0),
        last_seen_at = last_seen_at + iif(last_seen_at BETWEEN new.since AND new.until, new.by_ms, 0),
        opted_out_at = opted_out_at + iif(opted_out_at BETWEEN new.since AND new.until, new.by_ms, 0),
        blocked_at = blocked_at + iif(blocked_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE conversations SET
        opened_at = opened_at + iif(opened_at BETWEEN new.since AND new.until, new.by_ms, 0),
        last_message_at = last_message_at + iif(last_message_at BETWEEN new.since AND new.until, new.by_ms, 0),
        closed_at = closed_at + iif(closed_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE threads SET
        wake_at = wake_at + new.by_ms,
        last_inbound_at = last_inbound_at + iif(last_inbound_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE messages SET
        at = at + iif(at BETWEEN new.since AND new.until, new.by_ms, 0),
        retry_at = iif(outcome IS NULL AND direction = 'in', retry_at + new.by_ms, retry_at);
    UPDATE drafts SET
        created_at = created_at + iif(created_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE model_calls SET
        at = at + iif(at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE outbox SET
        attempted_at = attempted_at + iif(attempted_at BETWEEN new.since AND new.until, new.by_ms, 0),
        settled_at = settled_at + iif(settled_at BETWEEN new.since AND new.until, new.by_ms, 0),
        delivery_at = delivery_at + iif(delivery_at BETWEEN new.since AND new.until, new.by_ms, 0);
    UPDATE transitions SET
        at = at + iif(at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
