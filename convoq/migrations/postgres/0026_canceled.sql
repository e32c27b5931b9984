-- oldest code: 21
-- What a channel has canceled did not arrive either.
DROP INDEX outbox_undelivered;
CREATE INDEX outbox_undelivered ON outbox (delivery_at, conversation_id)
    WHERE delivery IN ('failed', 'undelivered', 'canceled');
