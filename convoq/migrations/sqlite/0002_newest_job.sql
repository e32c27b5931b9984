-- The queue's clock must not begin before the newest job. db/ sets it and asks by this name, so that only the queue's own
-- statements name its tables.
CREATE VIEW newest_job (enqueued_at) AS SELECT enqueued_at FROM jobs ORDER BY id DESC LIMIT 1;
