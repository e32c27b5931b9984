-- Where people write to us, and up to when the channel's list has been compared with what came by itself.
-- Times are ms of the wall clock, as the channel's list has them.
CREATE TABLE our_addresses (
    channel TEXT NOT NULL,
    our_address TEXT NOT NULL,
    known_since INTEGER NOT NULL,
    last_heard INTEGER NOT NULL,
    caught_up_to INTEGER,
    PRIMARY KEY (channel, our_address)
) STRICT, WITHOUT ROWID;
