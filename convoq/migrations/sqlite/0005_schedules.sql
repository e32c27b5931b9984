-- A job is added beside those of its waiting key only while they run: one that waits is joined instead.
-- What no worker has begun by `start_by` never runs.
ALTER TABLE jobs ADD COLUMN waiting_key TEXT;
ALTER TABLE jobs ADD COLUMN start_by INTEGER;
CREATE INDEX jobs_waiting ON jobs (waiting_key) WHERE waiting_key IS NOT NULL AND state = 'ready';

-- Apart from `schedules`, whose rows go with their entries: a pause stays until it is taken back.
CREATE TABLE schedule_pauses (
    name TEXT PRIMARY KEY,
    paused_at INTEGER NOT NULL,
    reason TEXT
) STRICT, WITHOUT ROWID;

CREATE TRIGGER clock_corrected_schedules INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE jobs SET start_by = start_by + new.by_ms WHERE start_by IS NOT NULL AND state = 'ready';
    UPDATE schedule_pauses SET
        paused_at = paused_at + iif(paused_at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
