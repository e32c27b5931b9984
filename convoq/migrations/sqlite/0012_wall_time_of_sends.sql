-- The wall clock at the attempt, beside the queue's in attempted_at: a machine that was paused from outside, or booted
-- without knowing how long it was off, has a queue's clock that ran less than Twilio's.
ALTER TABLE outbox ADD COLUMN attempted_wall INTEGER;
