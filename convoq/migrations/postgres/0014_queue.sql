-- oldest code: 14
-- The queue on PostgreSQL. Times are integer milliseconds.
--
-- A verb is a function, so that it is one round trip, and each takes the time as its first argument: NULL for the
-- server's own clock. In READ COMMITTED each statement inside sees what was committed before it began, so what is read
-- after a lane's row is locked is complete.
--
-- Locks. Whoever changes jobs holds the row of their lane; of several lanes in the order of their names.
--   an enqueue   FOR KEY SHARE: its lane stays, and nothing else waits for it
--   all else     FOR NO KEY UPDATE: one at a time, beside any number of enqueues
--   a deletion   FOR UPDATE, only if it can be had at once and in a transaction of the queue's own. A process that
--                stands still inside a transaction of the store's so holds up no enqueue; the empty lane that it
--                leaves is taken for a new one by the next enqueue, and deleted by the next claim.

CREATE SEQUENCE job_ids;

CREATE TABLE jobs (
    id bigint PRIMARY KEY,
    -- The ordering key, and while the job is ready the row of `lanes` in which it stands.
    lane text COLLATE "C" NOT NULL,
    lane_id bigint NOT NULL,
    kind text NOT NULL,
    payload text NOT NULL,
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'done', 'dead', 'cancelled')),
    priority smallint NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL,
    enqueued_at bigint NOT NULL,
    claimed_at bigint,
    finished_at bigint CHECK ((finished_at IS NULL) = (state = 'ready')),
    error text,
    dedup_key text,
    -- Of the claim that charged it last: what another claim took meanwhile is not ours to end.
    receipt text,
    -- A job is added beside those of its waiting key only while they run: one that waits is joined instead.
    waiting_key text COLLATE "C",
    -- What no worker has begun by then never runs.
    start_by bigint
) WITH (fillfactor = 85);
CREATE INDEX jobs_ready ON jobs (lane_id, id) WHERE state = 'ready';
CREATE INDEX jobs_finished ON jobs (state, finished_at) WHERE state <> 'ready';
CREATE INDEX jobs_waiting ON jobs (waiting_key) WHERE waiting_key IS NOT NULL AND state = 'ready';

-- One row per ordering key with ready jobs. due_at is the one clock: delay, quiet window, backoff and lease expiry.
CREATE TABLE lanes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane text COLLATE "C" NOT NULL UNIQUE,
    priority smallint NOT NULL,
    due_at bigint NOT NULL,
    -- Why it waits, when a claim was given back.
    reason text,
    -- Of the live claim:
    receipt text,
    worker text,
    -- Whether the worker's mark was held, so that its absence proves a death.
    marked boolean NOT NULL DEFAULT false,
    -- It was to be due at once while a claim held it: whatever that claim goes back with, it does not wait.
    kicked boolean NOT NULL DEFAULT false,
    -- Of the last claims, one after the other, so many ended with their worker's death; and when that was last.
    crashes integer NOT NULL DEFAULT 0,
    crashed_at bigint,
    -- The ordering key of its jobs, when they wait beside the lane of that key and hold up nothing in it.
    aside_of text COLLATE "C"
-- Each claim leaves dead rows behind: they are cleared away by their number, not by their share of the table.
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX lanes_due ON lanes (priority, due_at);
CREATE INDEX lanes_aside ON lanes (due_at) WHERE aside_of IS NOT NULL;
CREATE INDEX lanes_marked ON lanes (worker) WHERE marked;

-- Apart from jobs, which it outlives: the digest of a dedup key, and whose it is.
CREATE TABLE dedup (
    digest uuid PRIMARY KEY,
    job_id bigint NOT NULL,
    enqueued_at bigint NOT NULL
);

CREATE FUNCTION queue_now(p_now bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(p_now, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
$$;

-- Producing -----------------------------------------------------------------------------------------------------------

-- Sees to it that these lanes are there and stay so until the end of the transaction, each as urgent as this at least.
-- The names are given once each.
CREATE FUNCTION queue_open_lanes(p_lanes text[], p_priorities smallint[], p_due bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    found_ids bigint[];
    made_ids bigint[] := '{}';
    new_ids bigint[];
BEGIN
    LOOP
        SELECT coalesce(array_agg(x.id), '{}') INTO found_ids FROM (
            SELECT l.id FROM unnest(p_lanes) AS u (lane) JOIN lanes AS l ON l.lane = u.lane
            ORDER BY l.lane FOR KEY SHARE OF l) AS x;
        EXIT WHEN cardinality(found_ids) = cardinality(p_lanes);
        WITH made AS (
            INSERT INTO lanes (lane, priority, due_at)
            SELECT u.lane, u.priority, u.due FROM unnest(p_lanes, p_priorities, p_due) AS u (lane, priority, due)
            -- Even to do nothing it would wait for whoever has changed the lane.
            WHERE (SELECT l.id FROM lanes AS l WHERE l.lane = u.lane LIMIT 1) IS NULL
            ORDER BY u.lane COLLATE "C"
            ON CONFLICT (lane) DO NOTHING RETURNING id)
        SELECT coalesce(array_agg(made.id), '{}') INTO new_ids FROM made;
        made_ids := made_ids || new_ids;
        -- Otherwise another transaction has made or deleted one of them since.
        EXIT WHEN cardinality(found_ids) + cardinality(made_ids) = cardinality(p_lanes);
    END LOOP;
    IF found_ids <> '{}' THEN
        PERFORM queue_renew_lanes(p_lanes, p_priorities, p_due, found_ids, made_ids);
    END IF;
END $$;

-- Of the lanes that were found and not made just now.
CREATE FUNCTION queue_renew_lanes(p_lanes text[], p_priorities smallint[], p_due bigint[], p_found bigint[],
    p_made bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    changed bigint[];
BEGIN
    SELECT array_agg(l.id) INTO changed
    FROM unnest(p_lanes, p_priorities) AS u (lane, priority) JOIN lanes AS l ON l.lane = u.lane
    WHERE l.id = ANY (p_found) AND l.id <> ALL (p_made) AND (u.priority < l.priority OR (l.receipt IS NULL
        AND (SELECT j.id FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready' LIMIT 1) IS NULL));
    IF changed IS NULL THEN
        RETURN;
    END IF;
    PERFORM 1 FROM lanes AS l WHERE l.id = ANY (changed) ORDER BY l.lane FOR NO KEY UPDATE;
    -- What an ended claim has left empty is as good as new.
    UPDATE lanes AS l SET priority = u.priority, due_at = u.due, reason = NULL, kicked = false, crashes = 0
    FROM unnest(p_lanes, p_priorities, p_due) AS u (lane, priority, due)
    WHERE l.lane = u.lane AND l.id = ANY (changed) AND l.receipt IS NULL
        AND (SELECT j.id FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready' LIMIT 1) IS NULL;
    UPDATE lanes AS l SET priority = u.priority
    FROM unnest(p_lanes, p_priorities) AS u (lane, priority)
    WHERE l.lane = u.lane AND l.id = ANY (changed) AND u.priority < l.priority;
END $$;

-- Adds jobs without looking for those of their waiting keys; of each its id, and whether that is of a job that had its
-- dedup key before.
-- An id is drawn while its lane is held, so of two enqueues, one after the other, the second stands behind the first.
CREATE FUNCTION queue_insert(p_now bigint, p_lanes text[], p_kinds text[], p_payloads text[], p_priorities smallint[],
    p_delays bigint[], p_attempts integer[], p_digests uuid[], p_dedup_keys text[], p_waiting_keys text[],
    p_start_within bigint[], OUT ids bigint[], OUT duplicates boolean[])
LANGUAGE plpgsql AS $$
DECLARE
    all_new boolean := array_remove(p_digests, NULL) = '{}';
    known integer[] := '{}';
    won bigint[];
    horizon bigint := p_now - 2592000000;  -- rules.DEDUP_RETENTION_MS
BEGIN
    IF NOT all_new THEN
        SELECT coalesce(array_agg(u.n), '{}') INTO known
        FROM unnest(p_digests) WITH ORDINALITY AS u (digest, n) JOIN dedup AS d ON d.digest = u.digest
        WHERE d.enqueued_at >= horizon;
    END IF;
    PERFORM queue_open_lanes(array_agg(x.lane), array_agg(x.priority), array_agg(x.due)) FROM (
        SELECT u.lane, min(u.priority) AS priority, p_now + min(u.delay) AS due
        FROM unnest(p_lanes, p_priorities, p_delays) WITH ORDINALITY AS u (lane, priority, delay, n)
        WHERE u.n <> ALL (known) GROUP BY u.lane) AS x
    HAVING count(*) > 0;
    SELECT array_agg(nextval('job_ids')) INTO ids FROM generate_series(1, cardinality(p_lanes));
    IF NOT all_new THEN
        WITH taken AS (
            INSERT INTO dedup (digest, job_id, enqueued_at)
            SELECT DISTINCT ON (u.digest) u.digest, ids[u.n], p_now
            FROM unnest(p_digests) WITH ORDINALITY AS u (digest, n)
            WHERE u.digest IS NOT NULL AND u.n <> ALL (known) ORDER BY u.digest, u.n
            ON CONFLICT (digest) DO UPDATE SET job_id = excluded.job_id, enqueued_at = excluded.enqueued_at
                WHERE dedup.enqueued_at < horizon
            RETURNING job_id)
        SELECT coalesce(array_agg(taken.job_id), '{}') INTO won FROM taken;
    END IF;
    INSERT INTO jobs (id, lane_id, lane, kind, payload, priority, max_attempts, enqueued_at, dedup_key, waiting_key,
        start_by)
    SELECT ids[u.n], l.id, u.lane, u.kind, u.payload, u.priority, u.attempts, p_now, u.dedup_key, u.waiting_key,
        p_now + u.start_within
    FROM unnest(p_lanes, p_kinds, p_payloads, p_priorities, p_attempts, p_digests, p_dedup_keys, p_waiting_keys,
        p_start_within) WITH ORDINALITY
        AS u (lane, kind, payload, priority, attempts, digest, dedup_key, waiting_key, start_within, n)
    JOIN lanes AS l ON l.lane = u.lane
    WHERE u.digest IS NULL OR ids[u.n] = ANY (won);
    IF all_new OR cardinality(won) = cardinality(array_remove(p_digests, NULL)) THEN
        RETURN;
    END IF;
    SELECT array_agg(CASE WHEN u.digest IS NULL THEN ids[u.n] ELSE d.job_id END ORDER BY u.n),
        array_agg(u.digest IS NOT NULL AND d.job_id <> ids[u.n] ORDER BY u.n)
    INTO ids, duplicates
    FROM unnest(p_digests) WITH ORDINALITY AS u (digest, n) LEFT JOIN dedup AS d ON d.digest = u.digest;
END $$;

-- The job of its waiting key that waits takes this one's place, if there is one; its id and whether the dedup key was
-- there before, else NULL. One that waits for another try takes neither the payload nor the time: it is joined only
-- where no other one waits.
CREATE FUNCTION queue_join_waiting(p_now bigint, p_kind text, p_payload text, p_digest uuid, p_waiting_key text,
    p_start_by bigint, OUT id bigint, OUT duplicate boolean)
LANGUAGE plpgsql AS $$
DECLARE
    found_job bigint;
    its_lane bigint;
    horizon bigint := p_now - 2592000000;  -- rules.DEDUP_RETENTION_MS
BEGIN
    LOOP
        SELECT j.id, j.lane_id INTO found_job, its_lane
        FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id
        WHERE j.waiting_key = p_waiting_key AND j.state = 'ready' AND coalesce(j.receipt <> l.receipt, true)
        ORDER BY j.claimed_at IS NOT NULL, j.id LIMIT 1;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        PERFORM 1 FROM lanes AS l WHERE l.id = its_lane FOR NO KEY UPDATE;
        -- It may have been claimed before its lane was ours.
        PERFORM 1 FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id
        WHERE j.id = found_job AND j.lane_id = its_lane AND j.state = 'ready'
            AND coalesce(j.receipt <> l.receipt, true);
        EXIT WHEN FOUND;
    END LOOP;
    id := found_job;
    duplicate := false;
    IF p_digest IS NOT NULL THEN
        INSERT INTO dedup AS d (digest, job_id, enqueued_at) VALUES (p_digest, found_job, p_now)
        ON CONFLICT (digest) DO UPDATE SET job_id = excluded.job_id, enqueued_at = excluded.enqueued_at
            WHERE d.enqueued_at < horizon;
        IF NOT FOUND THEN
            SELECT d.job_id INTO id FROM dedup AS d WHERE d.digest = p_digest;
            duplicate := true;
            RETURN;
        END IF;
    END IF;
    -- Without a time to be begun by it stays so: a person has asked for it.
    UPDATE jobs AS j SET kind = p_kind, payload = p_payload,
        start_by = CASE WHEN j.start_by IS NOT NULL AND p_start_by IS NOT NULL THEN greatest(j.start_by, p_start_by) END
    WHERE j.id = found_job AND j.claimed_at IS NULL;
END $$;

-- Adds jobs; as queue_insert, and whether a job joined one of its waiting key. NULL for whatever is so of none of them.
CREATE FUNCTION queue_enqueue(p_now bigint, p_lanes text[], p_kinds text[], p_payloads text[], p_priorities smallint[],
    p_delays bigint[], p_attempts integer[], p_digests uuid[], p_dedup_keys text[], p_waiting_keys text[],
    p_start_within bigint[], OUT ids bigint[], OUT duplicates boolean[], OUT joined boolean[])
LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := queue_now(p_now);
    job_id bigint;
    is_duplicate boolean;
    has_joined boolean;
BEGIN
    IF array_remove(p_waiting_keys, NULL) = '{}' THEN
        SELECT i.ids, i.duplicates INTO ids, duplicates
        FROM queue_insert(now_ms, p_lanes, p_kinds, p_payloads, p_priorities, p_delays, p_attempts, p_digests,
            p_dedup_keys, p_waiting_keys, p_start_within) AS i;
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('convoq waiting ' || x.key, 0)) FROM (
        SELECT DISTINCT u.key COLLATE "C" AS key FROM unnest(p_waiting_keys) AS u (key)
        WHERE u.key IS NOT NULL ORDER BY 1) AS x;
    -- One by one: the next job may have to join this one.
    FOR n IN 1 .. cardinality(p_lanes) LOOP
        job_id := NULL;
        IF p_waiting_keys[n] IS NOT NULL THEN
            SELECT w.id, w.duplicate, NOT w.duplicate INTO job_id, is_duplicate, has_joined
            FROM queue_join_waiting(now_ms, p_kinds[n], p_payloads[n], p_digests[n], p_waiting_keys[n],
                now_ms + p_start_within[n]) AS w;
        END IF;
        IF job_id IS NULL THEN
            SELECT i.ids[1], coalesce(i.duplicates[1], false), false INTO job_id, is_duplicate, has_joined
            FROM queue_insert(now_ms, p_lanes[n:n], p_kinds[n:n], p_payloads[n:n], p_priorities[n:n], p_delays[n:n],
                p_attempts[n:n], p_digests[n:n], p_dedup_keys[n:n], p_waiting_keys[n:n], p_start_within[n:n]) AS i;
        END IF;
        ids[n] := job_id;
        duplicates[n] := is_duplicate;
        joined[n] := has_joined;
    END LOOP;
END $$;

-- Claiming ------------------------------------------------------------------------------------------------------------

-- The jobs at a lane's front for one claim, as they will be once charged, and whether more stand behind them.
CREATE FUNCTION queue_front(p_lane_id bigint, p_together text[], p_now bigint)
RETURNS TABLE (id bigint, kind text, payload text, attempt integer, max_attempts integer, enqueued_at bigint,
    late boolean, begun boolean, has_more boolean)
LANGUAGE sql STABLE AS $$
    SELECT y.id, y.kind, y.payload, y.attempt, y.max_attempts, y.enqueued_at,
        y.claimed_at IS NULL AND coalesce(y.start_by < p_now, false), y.claimed_at IS NOT NULL, y.has_more
    FROM (
        SELECT x.*, bool_and(x.fits) OVER (ORDER BY x.id) AS taken, NOT bool_and(x.fits) OVER () AS has_more
        FROM (
            SELECT j.id, j.kind, j.payload, j.attempt + 1 AS attempt, j.max_attempts, j.enqueued_at, j.claimed_at,
                j.start_by, row_number() OVER line = 1 OR (
                    j.kind = ANY (p_together) AND j.kind = first_value(j.kind) OVER line
                    -- rules.ALONE_FROM_ATTEMPT and rules.LARGEST_CLAIM
                    AND greatest(j.attempt, lag(j.attempt) OVER line) < 2 AND row_number() OVER line <= 32) AS fits
            FROM (
                SELECT * FROM jobs AS r WHERE r.lane_id = p_lane_id AND r.state = 'ready' ORDER BY r.id
                LIMIT (SELECT CASE WHEN f.kind = ANY (p_together) THEN 33 ELSE 2 END FROM jobs AS f
                       WHERE f.lane_id = p_lane_id AND f.state = 'ready' ORDER BY f.id LIMIT 1)) AS j
            WINDOW line AS (ORDER BY j.id)) AS x) AS y
    WHERE y.taken ORDER BY y.id
$$;

-- What was put aside and is due stands in its old place of its lane again: that still runs one claim at a time. A lane
-- that something holds just now waits for the next claim.
CREATE FUNCTION queue_rejoin_due(p_now bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    aside record;
BEGIN
    FOR aside IN SELECT l.id, l.aside_of FROM lanes AS l WHERE l.aside_of IS NOT NULL AND l.due_at <= p_now LOOP
        PERFORM queue_rejoin(p_now, aside.id, aside.aside_of, false);
    END LOOP;
END $$;

-- The lane before what stands aside of it, as in queue_nack: whoever takes both takes them in this order.
CREATE FUNCTION queue_rejoin(p_now bigint, p_aside bigint, p_lane text, p_waits boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    urgency smallint;
BEGIN
    IF p_waits THEN
        PERFORM 1 FROM lanes AS l WHERE l.lane = p_lane FOR NO KEY UPDATE;
    ELSIF EXISTS (SELECT 1 FROM lanes AS l WHERE l.lane = p_lane) THEN
        PERFORM 1 FROM lanes AS l WHERE l.lane = p_lane FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    SELECT l.priority INTO urgency FROM lanes AS l WHERE l.id = p_aside AND l.aside_of IS NOT NULL FOR UPDATE;
    IF FOUND THEN
        PERFORM queue_open_lanes(ARRAY[p_lane], ARRAY[urgency], ARRAY[p_now]);
        UPDATE jobs AS j SET lane_id = (SELECT l.id FROM lanes AS l WHERE l.lane = p_lane)
        WHERE j.lane_id = p_aside AND j.state = 'ready';
        DELETE FROM lanes AS l WHERE l.id = p_aside;
    END IF;
END $$;

-- Deletes those of the lanes that are empty, unless something holds them. Only where each statement sees the latest.
CREATE FUNCTION queue_drop_empty(p_lane_ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held bigint[];
BEGIN
    SELECT array_agg(x.id) INTO held FROM (
        SELECT l.id FROM lanes AS l WHERE l.id = ANY (p_lane_ids) ORDER BY l.lane FOR UPDATE SKIP LOCKED) AS x;
    DELETE FROM lanes AS l WHERE l.id = ANY (held)
        AND (SELECT j.id FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready' LIMIT 1) IS NULL;
END $$;

-- Up to p_reserve due lanes of INTAKE (0) and up to p_limit of the other classes, of which at most p_background are
-- less urgent than PEOPLE (1), and one of the class p_first comes before all others. A row for each job.
CREATE FUNCTION queue_claim(p_now bigint, p_lease bigint, p_worker text, p_marked boolean, p_limit integer,
    p_reserve integer, p_background integer, p_first smallint, p_together text[])
RETURNS TABLE (lane text, receipt text, priority smallint, crashes integer, has_more boolean, id bigint, kind text,
    payload text, attempt integer, max_attempts integer, enqueued_at bigint, late boolean, begun boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now_ms bigint := queue_now(p_now);
    classes smallint[] := ARRAY[0, p_first, 1, 2, 3];
    class smallint;
    most integer;
    seen bigint[] := '{}';
    ids bigint[];
    good bigint[];
    empty bigint[];
    misplaced bigint[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM queue_rejoin_due(now_ms);
    FOR step IN 1 .. 5 LOOP
        class := classes[step];
        most := CASE WHEN class = 0 THEN p_reserve WHEN class = 1 THEN p_limit ELSE least(p_limit, p_background) END;
        most := CASE WHEN step = 2 THEN least(most, 1) ELSE most END;
        WHILE class IS NOT NULL AND most > 0 LOOP
            SELECT array_agg(x.id) INTO ids FROM (
                SELECT l.id FROM lanes AS l
                WHERE l.priority = class AND l.due_at <= now_ms AND l.aside_of IS NULL AND l.id <> ALL (seen)
                ORDER BY l.due_at LIMIT most FOR NO KEY UPDATE SKIP LOCKED) AS x;
            EXIT WHEN ids IS NULL;
            -- What shares a lane of INTAKE is less urgent, and must take none of its slots.
            SELECT array_agg(u.id ORDER BY u.n) FILTER (WHERE f.kind = 'receive_message' OR class > 0 AND f.kind <> ''),
                array_agg(u.id) FILTER (WHERE f.kind IS NULL),
                array_agg(u.id) FILTER (WHERE f.kind <> 'receive_message' AND class = 0)
            INTO good, empty, misplaced
            FROM unnest(ids) WITH ORDINALITY AS u (id, n) LEFT JOIN LATERAL (
                SELECT j.kind FROM jobs AS j WHERE j.lane_id = u.id AND j.state = 'ready' ORDER BY j.id LIMIT 1) AS f
                ON true;
            IF good IS NOT NULL THEN
                RETURN QUERY
                WITH chosen AS MATERIALIZED (
                    SELECT u.lane_id, u.n, gen_random_uuid()::text AS receipt
                    FROM unnest(good) WITH ORDINALITY AS u (lane_id, n)),
                front AS MATERIALIZED (
                    SELECT c.lane_id, c.n, c.receipt, f.* FROM chosen AS c
                    CROSS JOIN LATERAL queue_front(c.lane_id, p_together, now_ms) AS f),
                held AS (
                    UPDATE lanes AS l SET due_at = now_ms + p_lease, reason = NULL, receipt = c.receipt,
                        worker = p_worker, marked = p_marked, kicked = false
                    FROM chosen AS c WHERE l.id = c.lane_id
                    RETURNING l.id, l.lane, l.priority,
                        -- rules.CRASHES_FADE_MS
                        CASE WHEN l.crashed_at > now_ms - 600000 THEN l.crashes ELSE 0 END AS crashes),
                charged AS (
                    -- Not begun while it is late: should this worker die before it has skipped the job, the next must.
                    UPDATE jobs AS j SET attempt = f.attempt, receipt = f.receipt,
                        claimed_at = CASE WHEN NOT f.late THEN now_ms END
                    FROM front AS f WHERE j.id = f.id)
                SELECT h.lane, f.receipt, h.priority, h.crashes, f.has_more, f.id, f.kind, f.payload, f.attempt,
                    f.max_attempts, f.enqueued_at, f.late, f.begun
                FROM front AS f JOIN held AS h ON h.id = f.lane_id ORDER BY f.n, f.id;
                most := most - cardinality(good);
                p_limit := p_limit - CASE WHEN class > 0 THEN cardinality(good) ELSE 0 END;
                p_background := p_background - CASE WHEN class > 1 THEN cardinality(good) ELSE 0 END;
            END IF;
            EXIT WHEN empty IS NULL AND misplaced IS NULL;
            IF misplaced IS NOT NULL THEN
                UPDATE lanes AS l SET priority = (
                    SELECT j.priority FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready' ORDER BY j.id LIMIT 1)
                WHERE l.id = ANY (misplaced);
            END IF;
            IF empty IS NOT NULL THEN
                PERFORM queue_drop_empty(empty);
                seen := seen || empty;
            END IF;
        END LOOP;
    END LOOP;
END $$;

-- Renews the leases of claims; the receipts of those that are held.
CREATE FUNCTION queue_extend(p_now bigint, p_lease bigint, p_lanes text[], p_receipts text[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    held text[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM 1 FROM unnest(p_lanes, p_receipts) AS u (lane, receipt)
    JOIN lanes AS l ON l.lane = u.lane AND l.receipt = u.receipt ORDER BY l.lane FOR NO KEY UPDATE OF l;
    WITH renewed AS (
        UPDATE lanes AS l SET due_at = queue_now(p_now) + p_lease
        FROM unnest(p_lanes, p_receipts) AS u (lane, receipt) WHERE l.lane = u.lane AND l.receipt = u.receipt
        RETURNING l.receipt)
    SELECT coalesce(array_agg(r.receipt), '{}') INTO held FROM renewed AS r;
    RETURN held;
END $$;

-- Ending a claim ------------------------------------------------------------------------------------------------------

-- Ends the claim of a lane, which is due then: now if it was kicked meanwhile. An empty one goes. Whether it stands.
CREATE FUNCTION queue_free(p_now bigint, p_lane_id bigint, p_droppable boolean, p_due bigint, p_reason text,
    p_unrun boolean) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF p_droppable THEN
        DELETE FROM lanes AS l WHERE l.id = p_lane_id
            AND (SELECT j.id FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready' LIMIT 1) IS NULL;
        IF FOUND THEN
            RETURN false;
        END IF;
    END IF;
    UPDATE lanes AS l SET due_at = CASE WHEN l.kicked THEN p_now ELSE p_due END,
        reason = CASE WHEN NOT l.kicked THEN p_reason END,
        receipt = NULL, worker = NULL, marked = false, kicked = false,
        crashes = CASE WHEN p_unrun THEN l.crashes ELSE 0 END
    WHERE l.id = p_lane_id;
    RETURN true;
END $$;

-- The jobs of these claims are done, and the claims end. A row for each that was held: whether its lane stands.
CREATE FUNCTION queue_ack(p_now bigint, p_lanes text[], p_receipts text[], p_done bigint[], p_forgotten bigint[])
RETURNS TABLE (receipt text, stands boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now_ms bigint := queue_now(p_now);
    held text[];
    droppable bigint[];
    others bigint[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT coalesce(array_agg(x.receipt), '{}'), coalesce(array_agg(x.id), '{}') INTO held, droppable FROM (
        SELECT l.id, l.receipt FROM unnest(p_lanes, p_receipts) AS u (lane, receipt)
        JOIN lanes AS l ON l.lane = u.lane AND l.receipt = u.receipt ORDER BY l.lane FOR UPDATE OF l SKIP LOCKED) AS x;
    IF cardinality(held) < cardinality(p_lanes) THEN
        SELECT held || coalesce(array_agg(x.receipt), '{}') INTO held FROM (
            SELECT l.receipt FROM unnest(p_lanes, p_receipts) AS u (lane, receipt)
            JOIN lanes AS l ON l.lane = u.lane AND l.receipt = u.receipt WHERE l.id <> ALL (droppable)
            ORDER BY l.lane FOR NO KEY UPDATE OF l) AS x;
    END IF;
    -- By finished_at, not by state: a plan that was made when all were few must not choose the index of the ready ones.
    IF p_forgotten <> '{}' THEN
        DELETE FROM jobs AS j WHERE j.id = ANY (p_forgotten) AND j.finished_at IS NULL AND j.receipt = ANY (held);
    END IF;
    IF p_done <> '{}' THEN
        UPDATE jobs AS j SET state = 'done', finished_at = now_ms
        WHERE j.id = ANY (p_done) AND j.finished_at IS NULL AND j.receipt = ANY (held);
    END IF;
    RETURN QUERY
    DELETE FROM lanes AS l USING unnest(p_lanes, p_receipts) AS u (lane, receipt)
    WHERE l.lane = u.lane AND l.receipt = u.receipt AND l.id = ANY (droppable)
        AND (SELECT j.id FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready' LIMIT 1) IS NULL
    RETURNING u.receipt, false;
    RETURN QUERY
    UPDATE lanes AS l SET due_at = now_ms, reason = NULL, receipt = NULL, worker = NULL, marked = false,
        kicked = false, crashes = 0
    FROM unnest(p_lanes, p_receipts) AS u (lane, receipt)
    WHERE l.lane = u.lane AND l.receipt = u.receipt AND u.receipt = ANY (held)
    RETURNING u.receipt, true;
END $$;

-- The claim's jobs are done, and it goes on with those behind them: a row for each, or one without an id when the lane
-- is free now. No row: the claim is lost. `has_more` without an id: the lane stands.
CREATE FUNCTION queue_advance(p_now bigint, p_lane text, p_receipt text, p_priority smallint, p_jobs bigint[],
    p_forget boolean, p_together text[])
RETURNS TABLE (id bigint, kind text, payload text, attempt integer, max_attempts integer, enqueued_at bigint,
    late boolean, begun boolean, has_more boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now_ms bigint := queue_now(p_now);
    its_lane bigint;
    urgency smallint;
    droppable boolean;
    goes_on boolean := false;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- Also so that it may be deleted, if that can be had at once.
    SELECT l.id, l.priority INTO its_lane, urgency FROM lanes AS l
    WHERE l.lane = p_lane AND l.receipt = p_receipt FOR UPDATE SKIP LOCKED;
    droppable := FOUND;
    IF NOT droppable THEN
        SELECT l.id, l.priority INTO its_lane, urgency FROM lanes AS l
        WHERE l.lane = p_lane AND l.receipt = p_receipt FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF p_forget THEN
        DELETE FROM jobs AS j WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL AND j.receipt = p_receipt;
    ELSE
        UPDATE jobs AS j SET state = 'done', finished_at = now_ms
        WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL AND j.receipt = p_receipt;
    END IF;
    -- A lane that has become more urgent is not run on in a slot of the class that it had: it is claimed anew.
    IF urgency = p_priority THEN
        RETURN QUERY
        WITH front AS MATERIALIZED (SELECT * FROM queue_front(its_lane, p_together, now_ms)),
        charged AS (
            UPDATE jobs AS j SET attempt = f.attempt, receipt = p_receipt,
                claimed_at = CASE WHEN NOT f.late THEN now_ms END
            FROM front AS f WHERE j.id = f.id AND (p_priority > 0 OR f.kind = 'receive_message'))
        SELECT f.* FROM front AS f WHERE p_priority > 0 OR f.kind = 'receive_message' ORDER BY f.id;
        goes_on := FOUND;
    END IF;
    IF NOT goes_on THEN
        RETURN QUERY SELECT NULL::bigint, NULL, NULL, NULL::integer, NULL::integer, NULL::bigint, NULL::boolean,
            NULL::boolean, queue_free(now_ms, its_lane, droppable, now_ms, NULL, false);
    END IF;
END $$;

-- The claim ends and its jobs go back. NULL: it is lost; else whether its lane stands.
CREATE FUNCTION queue_nack(p_now bigint, p_lane text, p_receipt text, p_delay bigint, p_refunded bigint[],
    p_unbegun bigint[], p_charged bigint[], p_error text, p_reason text, p_aside text, p_unrun boolean) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := queue_now(p_now);
    its_lane bigint;
    urgency smallint;
    droppable boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- Also so that it may be deleted, if that can be had at once.
    SELECT l.id, l.priority INTO its_lane, urgency FROM lanes AS l
    WHERE l.lane = p_lane AND l.receipt = p_receipt FOR UPDATE SKIP LOCKED;
    droppable := FOUND;
    IF NOT droppable THEN
        SELECT l.id, l.priority INTO its_lane, urgency FROM lanes AS l
        WHERE l.lane = p_lane AND l.receipt = p_receipt FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    UPDATE jobs AS j SET attempt = j.attempt - 1,
        claimed_at = CASE WHEN j.id <> ALL (p_unbegun) THEN j.claimed_at END
    WHERE j.id = ANY (p_refunded) AND j.finished_at IS NULL AND j.receipt = p_receipt;
    IF p_error IS NOT NULL THEN
        UPDATE jobs AS j SET error = p_error WHERE j.id = ANY (p_charged);
    END IF;
    IF p_aside IS NULL THEN
        RETURN queue_free(now_ms, its_lane, droppable, now_ms + p_delay, p_reason, p_unrun);
    END IF;
    INSERT INTO lanes AS l (lane, aside_of, priority, due_at, reason)
    VALUES (p_aside, p_lane, urgency, now_ms + p_delay, p_reason)
    ON CONFLICT (lane) DO UPDATE SET due_at = least(l.due_at, excluded.due_at);
    UPDATE jobs AS j SET lane_id = (SELECT l.id FROM lanes AS l WHERE l.lane = p_aside)
    WHERE j.lane_id = its_lane AND j.state = 'ready' AND j.receipt = p_receipt;
    PERFORM queue_free(now_ms, its_lane, droppable, now_ms, NULL, false);
    RETURN true;
END $$;

-- These jobs of the claim end in another state ('forgotten': they are deleted), uncharged if they were not run. With
-- none left, or p_whole, the claim ends. The ids of those that were the claim's; NULL: it is lost.
-- In a transaction of the store's.
CREATE FUNCTION queue_end(p_now bigint, p_lane text, p_receipt text, p_jobs bigint[], p_state text, p_error text,
    p_unrun boolean, p_whole boolean) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := queue_now(p_now);
    its_lane bigint;
    ended bigint[];
BEGIN
    SELECT l.id INTO its_lane FROM lanes AS l WHERE l.lane = p_lane AND l.receipt = p_receipt FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF p_state = 'forgotten' THEN
        DELETE FROM jobs AS j WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL AND j.receipt = p_receipt;
    ELSE
        WITH finished AS (
            UPDATE jobs AS j SET state = p_state, finished_at = now_ms, error = coalesce(p_error, j.error),
                attempt = CASE WHEN p_unrun THEN j.attempt - 1 ELSE j.attempt END
            WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL AND j.receipt = p_receipt RETURNING j.id)
        SELECT array_agg(f.id) INTO ended FROM finished AS f;
    END IF;
    IF p_whole OR NOT EXISTS (
        SELECT 1 FROM jobs AS j WHERE j.lane_id = its_lane AND j.state = 'ready' AND j.receipt = p_receipt) THEN
        PERFORM queue_free(now_ms, its_lane, false, now_ms, NULL, false);
    END IF;
    RETURN coalesce(ended, '{}');
END $$;

-- The lane is due now, or at the end of the claim that it is under.
CREATE FUNCTION queue_kick(p_now bigint, p_lanes text[]) RETURNS void LANGUAGE sql VOLATILE AS $$
    UPDATE lanes SET kicked = receipt IS NOT NULL, reason = NULL,
        due_at = CASE WHEN receipt IS NULL THEN queue_now(p_now) ELSE due_at END
    WHERE lane = ANY (p_lanes)
$$;

-- Adds the job, unless one of its kind that is not under a claim stands ready among the last 100 of its lane
-- (rules.SEARCHED_OF_LANE). Whether it was added. In a transaction of the store's.
CREATE FUNCTION queue_join(p_now bigint, p_lane text, p_keyed boolean, p_kind text, p_payload text, p_priority smallint,
    p_delay bigint, p_attempts integer, p_waiting_key text, p_start_within bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    its_lane bigint;
BEGIN
    IF p_keyed THEN
        PERFORM queue_open_lanes(ARRAY[p_lane], ARRAY[p_priority], ARRAY[queue_now(p_now)]);
        -- Held, so that the job that waits there is not claimed before what this transaction has written can be seen.
        SELECT l.id INTO its_lane FROM lanes AS l WHERE l.lane = p_lane FOR NO KEY UPDATE;
        PERFORM 1 FROM (
            SELECT j.kind, coalesce(j.receipt = l.receipt, false) AS claimed
            FROM lanes AS l JOIN jobs AS j ON j.lane_id = l.id AND j.state = 'ready'
            WHERE l.id = its_lane ORDER BY j.id DESC LIMIT 100) AS x
        WHERE x.kind = p_kind AND NOT x.claimed;
        IF FOUND THEN
            RETURN false;
        END IF;
    END IF;
    PERFORM queue_enqueue(p_now, ARRAY[p_lane], ARRAY[p_kind], ARRAY[p_payload], ARRAY[p_priority], ARRAY[p_delay],
        ARRAY[p_attempts], ARRAY[NULL::uuid], ARRAY[NULL::text], ARRAY[p_waiting_key], ARRAY[p_start_within]);
    RETURN true;
END $$;

-- Operating -----------------------------------------------------------------------------------------------------------

-- Dead and cancelled ones of these jobs are ready again, in their old place; their ids.
CREATE FUNCTION queue_retry(p_now bigint, p_jobs bigint[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := queue_now(p_now);
    names text[];
    urgencies smallint[];
    revived bigint[];
BEGIN
    SELECT array_agg(x.lane), array_agg(x.priority) INTO names, urgencies FROM (
        SELECT j.lane, min(j.priority) AS priority FROM jobs AS j
        WHERE j.id = ANY (p_jobs) AND j.finished_at IS NOT NULL AND j.state <> 'done' GROUP BY j.lane) AS x;
    IF names IS NULL THEN
        RETURN '{}';
    END IF;
    PERFORM queue_open_lanes(names, urgencies, array_fill(now_ms, ARRAY[cardinality(names)]));
    PERFORM 1 FROM lanes AS l WHERE l.lane = ANY (names) ORDER BY l.lane FOR NO KEY UPDATE;
    PERFORM queue_kick(now_ms, names);
    WITH changed AS (
        UPDATE jobs AS j SET state = 'ready', attempt = 0, finished_at = NULL, claimed_at = NULL, receipt = NULL,
            start_by = NULL, waiting_key = NULL, lane_id = (SELECT l.id FROM lanes AS l WHERE l.lane = j.lane)
        WHERE j.id = ANY (p_jobs) AND j.finished_at IS NOT NULL AND j.state <> 'done' RETURNING j.id)
    SELECT coalesce(array_agg(c.id), '{}') INTO revived FROM changed AS c;
    RETURN revived;
END $$;

-- Holds the lanes in which these jobs stand, and with an aside also the lane that it stands aside of.
CREATE FUNCTION queue_hold_lanes_of(p_jobs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM lanes AS l WHERE l.lane IN (
        SELECT coalesce(s.aside_of, s.lane) FROM jobs AS j JOIN lanes AS s ON s.id = j.lane_id
        WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL)
    ORDER BY l.lane FOR NO KEY UPDATE;
    PERFORM 1 FROM lanes AS l WHERE l.id IN (
        SELECT j.lane_id FROM jobs AS j WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL)
    ORDER BY l.lane FOR NO KEY UPDATE;
END $$;

-- Cancels these jobs, whose lanes are held; what stood behind one does not wait out what that one waited for.
CREATE FUNCTION queue_cancel(p_now bigint, p_jobs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := queue_now(p_now);
BEGIN
    -- Where the job at the front goes, and where nothing is left to wait for.
    UPDATE lanes AS l SET due_at = least(l.due_at, now_ms), reason = NULL
    FROM (SELECT j.lane_id, min(j.id) AS first FROM jobs AS j
          WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL GROUP BY j.lane_id) AS x
    WHERE l.id = x.lane_id AND l.receipt IS NULL
        AND (SELECT min(j.id) FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready') = x.first
        AND (l.aside_of IS NULL OR (
            SELECT j.id FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready' AND j.id <> ALL (p_jobs) LIMIT 1)
            IS NULL);
    UPDATE jobs AS j SET state = 'cancelled', finished_at = now_ms
    WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL;
END $$;

-- The lanes of these jobs are due now, those under a claim at its end; what stands aside is in its lane again.
CREATE FUNCTION queue_run_now(p_now bigint, p_jobs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := queue_now(p_now);
    aside record;
BEGIN
    FOR aside IN SELECT DISTINCT l.id, l.aside_of FROM jobs AS j JOIN lanes AS l ON l.id = j.lane_id
                 WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL AND l.aside_of IS NOT NULL LOOP
        PERFORM queue_rejoin(now_ms, aside.id, aside.aside_of, true);
    END LOOP;
    PERFORM queue_kick(now_ms, array_agg(DISTINCT j.lane)) FROM jobs AS j
    WHERE j.id = ANY (p_jobs) AND j.finished_at IS NULL HAVING count(*) > 0;
END $$;

-- The advisory lock that a worker's session holds, shared, for as long as it lives.
CREATE FUNCTION queue_mark(p_worker text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT hashtextextended('convoq worker ' || current_schema() || ' ' || p_worker, 0)
$$;

-- Workers with claims whose mark nothing holds, though it was held when they claimed.
CREATE FUNCTION queue_dead_workers() RETURNS text[] LANGUAGE sql VOLATILE AS $$
    SELECT array_agg(x.worker) FROM (SELECT DISTINCT l.worker FROM lanes AS l WHERE l.marked) AS x
    WHERE pg_try_advisory_xact_lock(queue_mark(x.worker))
$$;

-- The lanes of those of these workers that are dead are due, one crash further; how many.
CREATE FUNCTION queue_recover(p_now bigint, p_workers text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := queue_now(p_now);
    dead text[];
    freed bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT array_agg(u.worker) INTO dead FROM unnest(p_workers) AS u (worker)
    WHERE pg_try_advisory_xact_lock(queue_mark(u.worker));
    WITH held AS MATERIALIZED (
        SELECT l.id FROM lanes AS l WHERE l.marked AND l.worker = ANY (dead)
        ORDER BY l.lane FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE lanes AS l SET due_at = least(l.due_at, now_ms), receipt = NULL, worker = NULL, marked = false,
        kicked = false, crashed_at = now_ms,
        crashes = CASE WHEN l.crashed_at > now_ms - 600000 THEN l.crashes ELSE 0 END + 1  -- rules.CRASHES_FADE_MS
    FROM held AS h WHERE l.id = h.id;
    GET DIAGNOSTICS freed = ROW_COUNT;
    RETURN freed;
END $$;

-- Milliseconds until the next lane of these classes is due, 0 for now; NULL without any. Empty lanes are none.
CREATE FUNCTION queue_next_due(p_now bigint, p_classes smallint[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    due bigint;
BEGIN
    SELECT min(x.due_at) INTO due FROM unnest(p_classes) AS u (class) CROSS JOIN LATERAL (
        SELECT l.due_at FROM lanes AS l WHERE l.priority = u.class
            AND (SELECT j.id FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready' LIMIT 1) IS NOT NULL
        ORDER BY l.due_at LIMIT 1) AS x;
    RETURN CASE WHEN due IS NOT NULL THEN greatest(due - queue_now(p_now), 0) END;
END $$;

-- Where the jobs enqueued then or later begin: ids are in the order of time, but for who waited long at a lock.
CREATE FUNCTION queue_first_id(p_since bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint;
    high bigint;
    middle bigint;
    found_job record;
BEGIN
    SELECT coalesce(min(id), 0), coalesce(max(id), -1) + 1 INTO low, high FROM jobs;
    WHILE low < high LOOP
        middle := (low + high) / 2;
        SELECT j.id, j.enqueued_at INTO found_job FROM jobs AS j WHERE j.id >= middle ORDER BY j.id LIMIT 1;
        IF found_job.enqueued_at >= p_since THEN
            high := middle;
        ELSE
            low := found_job.id + 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;

-- Deletes one batch of done and cancelled jobs that ended so long ago, and dedup keys past their retention; how many
-- jobs.
CREATE FUNCTION queue_prune(p_now bigint, p_older_than bigint, p_limit integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := queue_now(p_now);
    start uuid := gen_random_uuid();
    deleted bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM dedup AS d USING (
        -- In a stretch that chance picks: the order of digests is not that of time.
        SELECT s.digest FROM dedup AS s WHERE s.digest >= start ORDER BY s.digest LIMIT p_limit * 10) AS x
    WHERE d.digest = x.digest AND d.enqueued_at < now_ms - 2592000000;  -- rules.DEDUP_RETENTION_MS
    WITH old AS MATERIALIZED (
        SELECT x.id FROM unnest(ARRAY['done', 'cancelled']) AS u (state) CROSS JOIN LATERAL (
            SELECT j.id FROM jobs AS j
            WHERE j.state = u.state AND j.state <> 'ready' AND j.finished_at < now_ms - p_older_than
            ORDER BY j.finished_at LIMIT p_limit) AS x
        LIMIT p_limit)
    DELETE FROM jobs AS j USING old WHERE j.id = old.id AND j.finished_at IS NOT NULL AND j.state <> 'dead';
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END $$;

-- Plans are made once a connection, without statistics or while the tables are small: what reads all of a table, or sorts
-- it, would be chosen for good; and a plan made anew for each call costs more than the call. For the same reason the
-- statements above ask for a job of a lane by (SELECT ... LIMIT 1), where EXISTS would become a join.
DO $$
DECLARE
    verb regprocedure;
BEGIN
    FOR verb IN
        SELECT p.oid FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname IN ('queue_enqueue', 'queue_claim',
            'queue_extend', 'queue_ack', 'queue_advance', 'queue_nack', 'queue_end', 'queue_join', 'queue_retry',
            'queue_hold_lanes_of', 'queue_cancel', 'queue_run_now', 'queue_recover', 'queue_dead_workers',
            'queue_next_due', 'queue_first_id', 'queue_prune')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan SET jit = off '
            'SET enable_seqscan = off SET enable_bitmapscan = off '
            'SET enable_hashjoin = off SET enable_mergejoin = off', verb);
    END LOOP;
END $$;
