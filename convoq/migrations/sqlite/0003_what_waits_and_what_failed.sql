-- What waits and what failed is few among many, and is asked for by a burial under the write gate and by every look at
-- the state of the whole: each has an index that holds those few alone.
CREATE INDEX messages_failed ON messages (conversation_id) WHERE outcome = 'failed';
CREATE INDEX outbox_undelivered ON outbox (delivery_at, conversation_id) WHERE delivery IN ('failed', 'undelivered');

-- Counted whole by every look, so the count reads numbers and short words, not rows. It changes with the state alone.
CREATE INDEX conversations_by_state ON conversations (status, owner);

-- A person is known by the address, whatever the channel.
CREATE INDEX contacts_by_address ON contacts (address);
