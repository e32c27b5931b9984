-- oldest code: 15
-- The people of ours who may act; until there is one, anybody who can reach the database may.
CREATE TABLE operators (
    name text COLLATE "C" PRIMARY KEY,
    added_at bigint NOT NULL,
    added_by text COLLATE "C" NOT NULL,
    removed_at bigint,
    removed_by text COLLATE "C"
);
