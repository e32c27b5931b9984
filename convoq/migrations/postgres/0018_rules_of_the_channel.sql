-- oldest code: 18
-- Replies of the AI without an hour's pause between two of them, and when the last one was: what a loop shows in.
ALTER TABLE threads ADD COLUMN replies bigint NOT NULL DEFAULT 0;
ALTER TABLE threads ADD COLUMN replied_at bigint NOT NULL DEFAULT 0;
-- When the person wrote last, by the wall clock: the queue's does not count while a virtual machine is paused.
ALTER TABLE threads ADD COLUMN last_inbound_wall bigint;
-- When an answer was committed that tells the person that an AI gives it.
ALTER TABLE contacts ADD COLUMN disclosed_at bigint;

-- How fast each address of ours sends: its airtime is taken up to free_at, and what waits for it comes until
-- queued_until. A part that waits comes back at held_until.
CREATE TABLE senders (
    channel text COLLATE "C" NOT NULL,
    our_address text COLLATE "C" NOT NULL,
    free_at bigint NOT NULL,
    queued_until bigint NOT NULL,
    PRIMARY KEY (channel, our_address)
);
ALTER TABLE outbox ADD COLUMN held_until bigint;
