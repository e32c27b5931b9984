-- oldest code: 12
-- Where people write to us, and up to when the channel's list has been compared with what came by itself.
-- Times are ms of the wall clock, as the channel's list has them.
CREATE TABLE our_addresses (
    channel text COLLATE "C" NOT NULL,
    our_address text COLLATE "C" NOT NULL,
    known_since bigint NOT NULL,
    last_heard bigint NOT NULL,
    caught_up_to bigint,
    PRIMARY KEY (channel, our_address)
);
