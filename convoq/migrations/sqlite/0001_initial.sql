-- Times are integer milliseconds on the queue's clock (see convoq/clock.py).

CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot_id TEXT NOT NULL,
    anchor INTEGER NOT NULL
) STRICT;

-- The queue -----------------------------------------------------------------------------------------------------------

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    -- The ordering key, and while the job is ready the row of `lanes` with that key: a number, because it is indexed.
    lane TEXT NOT NULL,
    lane_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    -- Not IN: SQLite would build a table of the four for every row that is written.
    state TEXT NOT NULL DEFAULT 'ready'
        CHECK (state = 'ready' OR state = 'done' OR state = 'dead' OR state = 'cancelled'),
    priority INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    claimed_at INTEGER,
    finished_at INTEGER,
    error TEXT,
    dedup_key TEXT,
    -- Of the claim that charged it last: what another claim took meanwhile is not ours to end.
    receipt TEXT
) STRICT;
CREATE INDEX jobs_ready ON jobs (lane_id, id) WHERE state = 'ready';
CREATE INDEX jobs_finished ON jobs (state, finished_at) WHERE state <> 'ready';

-- A job's id is never used again: messages name their job, and a dedup key outlives its own. AUTOINCREMENT would promise
-- that too, but it costs as much as half an insert, once for every row.
CREATE TABLE job_ids (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_deleted INTEGER NOT NULL
) STRICT;
INSERT INTO job_ids (one, last_deleted) VALUES (1, 0);
CREATE TRIGGER jobs_newest_deleted BEFORE DELETE ON jobs WHEN old.id = (SELECT max(id) FROM jobs)
BEGIN
    UPDATE job_ids SET last_deleted = max(last_deleted, old.id);
END;

-- One row per ordering key with live jobs. due_at is the one clock: delay, quiet window, backoff and lease expiry.
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    lane TEXT NOT NULL UNIQUE,
    priority INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    -- Why it waits, when a claim was given back.
    reason TEXT,
    -- Of the live claim:
    receipt TEXT,
    worker TEXT,
    -- Of the last claims, one after the other, so many ended with their worker's death; and when that was last.
    crashes INTEGER NOT NULL DEFAULT 0,
    crashed_at INTEGER,
    -- The ordering key of its jobs, when they wait beside the lane of that key and hold up nothing in it.
    aside_of TEXT
) STRICT;
CREATE INDEX lanes_due ON lanes (priority, due_at);
CREATE INDEX lanes_aside ON lanes (due_at) WHERE aside_of IS NOT NULL;
CREATE INDEX lanes_claimed ON lanes (worker) WHERE receipt IS NOT NULL;

-- Narrow and apart from jobs, which it outlives. A random index is the dearest part of an insert, and one of numbers the
-- cheapest of those: half of a key's digest is the row's number, the other half tells whether it is the same key.
CREATE TABLE dedup (
    slot INTEGER PRIMARY KEY,
    rest INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL
) STRICT;

CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    last_slot INTEGER NOT NULL
) STRICT;

CREATE TABLE processes (
    id TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    status TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Conversations -------------------------------------------------------------------------------------------------------

CREATE TABLE contacts (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    name TEXT,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    opted_out_at INTEGER,
    blocked_at INTEGER,
    UNIQUE (channel, address)
) STRICT;

-- One person at one of our addresses, for ever: conversations are opened and closed inside it.
CREATE TABLE threads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    contact_id INTEGER NOT NULL REFERENCES contacts (id),
    our_address TEXT NOT NULL,
    -- The ordering key of its turns.
    lane TEXT NOT NULL UNIQUE,
    -- The token of the turn that may write: random, because a counter that a power cut takes back is given out twice.
    token TEXT,
    -- Answers given up for newer messages since the last one that was committed.
    superseded INTEGER NOT NULL DEFAULT 0,
    -- Until then a turn has said that it comes back.
    wake_at INTEGER NOT NULL DEFAULT 0,
    -- When the person wrote last: WhatsApp's window knows nothing of our conversations.
    last_inbound_at INTEGER,
    UNIQUE (contact_id, our_address)
) STRICT;

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id INTEGER NOT NULL REFERENCES threads (id),
    owner TEXT NOT NULL CHECK (owner IN ('ai', 'human', 'nobody')),
    status TEXT NOT NULL CHECK (status IN ('active', 'idle', 'closed')),
    closed_reason TEXT CHECK ((status = 'closed') = (closed_reason IS NOT NULL)),
    opened_at INTEGER NOT NULL,
    last_message_at INTEGER NOT NULL,
    closed_at INTEGER,
    previous_id INTEGER REFERENCES conversations (id)
) STRICT;
CREATE UNIQUE INDEX conversations_open ON conversations (thread_id) WHERE status <> 'closed';
CREATE INDEX conversations_of_thread ON conversations (thread_id, id);
CREATE INDEX conversations_silent ON conversations (status, last_message_at) WHERE status <> 'closed';

CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id INTEGER NOT NULL REFERENCES threads (id),
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    direction TEXT NOT NULL CHECK (direction IN ('in', 'out')),
    author TEXT NOT NULL CHECK (author IN ('contact', 'ai', 'operator', 'system')),
    -- What makes a replay harmless: the provider's id of an inbound message, the turn or job of an outbound one.
    source TEXT NOT NULL UNIQUE,
    job_id TEXT,
    body TEXT NOT NULL,
    description TEXT NOT NULL,
    media TEXT NOT NULL DEFAULT '[]',
    at INTEGER NOT NULL,
    -- The same moment by the wall clock: what people and models read.
    wall_at INTEGER NOT NULL,
    -- Inbound: what became of it, and why where that needs words. NULL while it waits.
    outcome TEXT,
    reason TEXT,
    answered_by INTEGER REFERENCES messages (id),
    -- Turns begun for it that came to no end; those of them that an error or the deadline ended; when it is tried again.
    tries INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    retry_at INTEGER NOT NULL DEFAULT 0,
    -- The job whose end was its own: that job's retry revives it.
    ended_by TEXT
) STRICT;
CREATE INDEX messages_of_conversation ON messages (conversation_id, id);
CREATE INDEX messages_waiting ON messages (thread_id, id) WHERE direction = 'in' AND outcome IS NULL;
CREATE INDEX messages_failing ON messages (thread_id) WHERE direction = 'in' AND outcome IS NULL AND failures > 0;
CREATE INDEX messages_ended ON messages (ended_by) WHERE ended_by IS NOT NULL;

-- Answers by the models: those that became the reply, and those that were given up for a newer message.
CREATE TABLE drafts (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    through_id INTEGER NOT NULL REFERENCES messages (id),
    state TEXT NOT NULL CHECK (state IN ('committed', 'superseded')),
    text TEXT NOT NULL,
    model TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX drafts_of_conversation ON drafts (conversation_id, through_id);

CREATE TABLE model_calls (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    through_id INTEGER NOT NULL REFERENCES messages (id),
    model TEXT NOT NULL,
    outcome TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    error TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX model_calls_of_conversation ON model_calls (conversation_id);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    reference TEXT NOT NULL UNIQUE,
    thread_id INTEGER NOT NULL REFERENCES threads (id),
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    message_id INTEGER NOT NULL REFERENCES messages (id),
    part INTEGER NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('ready', 'sending', 'sent', 'failed', 'ambiguous', 'cancelled')),
    -- Why it must not be sent again, once what is under way has been looked up.
    revoked TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    attempted_at INTEGER,
    settled_at INTEGER,
    provider_id TEXT UNIQUE,
    reconciled INTEGER NOT NULL DEFAULT 0,
    error_code TEXT,
    error TEXT,
    -- The job whose end was its own: that job's retry revives it.
    ended_by TEXT,
    delivery TEXT,
    delivery_rank INTEGER NOT NULL DEFAULT -1,
    delivery_at INTEGER,
    UNIQUE (message_id, part)
) STRICT;
CREATE INDEX outbox_pending ON outbox (thread_id, id) WHERE state IN ('ready', 'sending', 'ambiguous');
CREATE INDEX outbox_failed ON outbox (settled_at) WHERE state = 'failed';
CREATE INDEX outbox_ended ON outbox (ended_by) WHERE ended_by IS NOT NULL;

CREATE TABLE transitions (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    owner_before TEXT,
    owner_after TEXT NOT NULL,
    status_before TEXT,
    status_after TEXT NOT NULL
) STRICT;
CREATE INDEX transitions_of_conversation ON transitions (conversation_id, id);
