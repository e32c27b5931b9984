-- When the person has last come back after a STOP: what the channel reports of a message sent before that is no opt-out.
ALTER TABLE contacts ADD COLUMN opted_in_at INTEGER;
CREATE TRIGGER clock_corrected_opted_in INSTEAD OF INSERT ON clock_corrections
BEGIN
    UPDATE contacts SET
        opted_in_at = opted_in_at + iif(opted_in_at BETWEEN new.since AND new.until, new.by_ms, 0);
END;
