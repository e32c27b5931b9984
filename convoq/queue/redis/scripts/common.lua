-- What the scripts share. A script checks before it writes: an error midway is not rolled back.
-- Numbers stay below 2^53; as texts they have at most 14 digits, which Lua writes out in full.
local P = KEYS[1]

-- j:ID hash, a job · p:ID its payload · l:LANE zset, ready jobs by id · m:LANE hash, the lane · d:CLASS zset, lanes by
-- when they are due · a:CLASS the same of lanes put aside · k:DIGEST a dedup key · w:KEY zset, unended jobs of a waiting
-- key · all, ready, dead: zsets, jobs by id · ended: zset, done and cancelled ones by when they ended · workers: hash, each with its machine ·
-- c:WORKER: set, lanes that it has claimed

local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function wake()
  redis.call('PUBLISH', P..'wake', '')
end

-- Lanes

local function is_own(lane) return string.sub(lane, 1, 1) == RESERVED end
local function aside_of(lane) return ASIDE..lane end

local function due_key(lane, class)
  return P..(string.sub(lane, 1, #ASIDE) == ASIDE and 'a:' or 'd:')..class
end

local function lane_due(lane, class)
  return tonumber(redis.call('ZSCORE', due_key(lane, class), lane))
end

-- A lane that is there keeps its due time: it is claimed, backing off, or due already.
local function join_lane(lane, class, due)
  local old = redis.call('HGET', P..'m:'..lane, 'class')
  if not old then
    redis.call('HSET', P..'m:'..lane, 'class', class)
    redis.call('ZADD', due_key(lane, class), due, lane)
  elseif tonumber(class) < tonumber(old) then
    local score = redis.call('ZSCORE', due_key(lane, old), lane)
    redis.call('ZREM', due_key(lane, old), lane)
    redis.call('ZADD', due_key(lane, class), score, lane)
    redis.call('HSET', P..'m:'..lane, 'class', class)
  end
end

local function drop_holder(lane)
  local worker = redis.call('HGET', P..'m:'..lane, 'worker')
  if worker then redis.call('SREM', P..'c:'..worker, lane) end
end

local function drop_lane(lane)
  local class = redis.call('HGET', P..'m:'..lane, 'class')
  if class then
    drop_holder(lane)
    redis.call('ZREM', due_key(lane, class), lane)
    redis.call('DEL', P..'m:'..lane)
  end
end

local function is_empty(lane) return redis.call('EXISTS', P..'l:'..lane) == 0 end

-- Ends the lane's claim. If jobs remain it is due then, or now where it was kicked; else it goes.
local function free_lane(lane, now, due, reason, unrun)
  if is_empty(lane) then return drop_lane(lane) end
  local key = P..'m:'..lane
  local m = redis.call('HMGET', key, 'class', 'kicked')
  drop_holder(lane)
  redis.call('HDEL', key, 'receipt', 'worker', 'held', 'kicked', 'reason')
  if m[2] then
    due = now
  elseif reason ~= '' then
    redis.call('HSET', key, 'reason', reason)
  end
  if not unrun then redis.call('HDEL', key, 'crashes', 'crashed') end
  redis.call('ZADD', due_key(lane, m[1]), due, lane)
  wake()
end

-- Due now. Under a claim its due time is the lease: the claim's end makes it due instead.
local function kick(lane, now)
  local key = P..'m:'..lane
  local m = redis.call('HMGET', key, 'class', 'receipt')
  if not m[1] then return end
  redis.call('HDEL', key, 'reason')
  if m[2] then
    redis.call('HSET', key, 'kicked', 1)
  else
    redis.call('ZADD', due_key(lane, m[1]), now, lane)
  end
end

-- What was put aside stands in its old place of its lane again: that still runs one claim at a time.
local function rejoin(aside, now)
  local m = redis.call('HMGET', P..'m:'..aside, 'class', 'of')
  if not m[2] then return end
  join_lane(m[2], m[1], now)
  for _, id in ipairs(redis.call('ZRANGE', P..'l:'..aside, 0, -1)) do
    redis.call('ZADD', P..'l:'..m[2], id, id)
    redis.call('HDEL', P..'j:'..id, 'line')
  end
  redis.call('DEL', P..'l:'..aside)
  drop_lane(aside)
end

-- Claims

local function holds(lane, receipt)
  return redis.call('HGET', P..'m:'..lane, 'receipt') == receipt
end

-- Those of the ids that the claim still has.
local function still_held(ids, receipt)
  local held = {}
  for _, id in ipairs(ids) do
    local j = redis.call('HMGET', P..'j:'..id, 'state', 'receipt')
    if j[1] == 'ready' and j[2] == receipt then held[#held + 1] = id end
  end
  return held
end

local function held_ids(lane)
  local ids = {}
  for id in string.gmatch(redis.call('HGET', P..'m:'..lane, 'held') or '', '%d+') do ids[#ids + 1] = id end
  return ids
end

local function goes_with(job, jobs, together)
  local last = jobs[#jobs]
  return together[job.kind] and job.kind == jobs[1].kind and #jobs < LARGEST_CLAIM
    and math.max(job.attempt, last.attempt) < ALONE_FROM_ATTEMPT
end

-- The ready jobs at the lane's front for one claim, as they will be once charged, and whether more stand there.
local function front(lane, together, now)
  local jobs = {}
  for _, id in ipairs(redis.call('ZRANGE', P..'l:'..lane, 0, LARGEST_CLAIM)) do
    local j = redis.call('HMGET', P..'j:'..id, 'kind', 'attempt', 'max', 'enqueued', 'claimed', 'start_by', 'class')
    local late = not j[5] and j[6] and tonumber(j[6]) < now
    local job = {
      id = id, kind = j[1], attempt = j[2] + 1, max = j[3], enqueued = j[4], late = late, begun = j[5], class = j[7],
    }
    if #jobs > 0 and not goes_with(job, jobs, together) then return jobs, 1 end
    jobs[#jobs + 1] = job
  end
  return jobs, 0
end

-- What shares a lane of INTAKE is less urgent, and must take none of its slots.
local function is_of_class(job, class) return tonumber(class) ~= INTAKE or job.kind == INTAKE_KIND end

-- The jobs as the worker gets them.
local function charge(lane, jobs, now, receipt)
  local shown, ids = {}, {}
  for n, job in ipairs(jobs) do
    local key = P..'j:'..job.id
    redis.call('HSET', key, 'attempt', job.attempt, 'receipt', receipt)
    -- Not begun while it is late: should this worker die before it has skipped the job, the next one must.
    if not job.late then redis.call('HSET', key, 'claimed', now) end
    ids[n] = job.id
    shown[n] = {
      job.id, job.kind, redis.call('GET', P..'p:'..job.id), job.attempt, job.max, job.enqueued,
      job.late and 1 or 0, job.begun and 1 or 0,
    }
  end
  redis.call('HSET', P..'m:'..lane, 'held', table.concat(ids, ','))
  return shown
end

local function set_of(first)
  local set = {}
  for i = first, #ARGV do set[ARGV[i]] = true end
  return set
end

local function arguments(first, count)
  local some = {}
  for i = first, first + count - 1 do some[#some + 1] = ARGV[i] end
  return some
end

-- The end of jobs

local function leave_line(id)
  local key = P..'j:'..id
  local j = redis.call('HMGET', key, 'lane', 'line', 'waiting')
  redis.call('ZREM', P..'l:'..(j[2] or j[1]), id)
  redis.call('ZREM', P..'ready', id)
  if j[3] then redis.call('ZREM', P..'w:'..j[3], id) end
end

local function finish(id, state, now, reason)
  leave_line(id)
  redis.call('HSET', P..'j:'..id, 'state', state, 'finished', now)
  redis.call('HDEL', P..'j:'..id, 'line')
  if reason ~= '' then redis.call('HSET', P..'j:'..id, 'error', reason) end
  if state == 'dead' then
    redis.call('ZADD', P..'dead', id, id)
  else
    redis.call('ZADD', P..'ended', now, id)
  end
end

local function delete(id)
  redis.call('DEL', P..'j:'..id, P..'p:'..id)
  redis.call('ZREM', P..'all', id)
  redis.call('ZREM', P..'dead', id)
  redis.call('ZREM', P..'ended', id)
end

local function done(ids, receipt, now, forget)
  for _, id in ipairs(still_held(ids, receipt)) do
    if forget == '1' then
      leave_line(id)
      delete(id)
    else
      finish(id, 'done', now, '')
    end
  end
end

-- New jobs

local FIELDS = 10
local function new_job(i)
  return {
    lane = ARGV[i], kind = ARGV[i + 1], payload = ARGV[i + 2], class = ARGV[i + 3], delay = tonumber(ARGV[i + 4]),
    max = ARGV[i + 5], digest = ARGV[i + 6], dedup = ARGV[i + 7], waiting = ARGV[i + 8], within = ARGV[i + 9],
  }
end

local function start_by(job, now) return job.within ~= '' and now + tonumber(job.within) end

local function insert(job, now)
  local id = redis.call('INCR', P..'id')
  local lane = job.lane
  if lane == '' then lane = RESERVED..string.format('%016d', id) end -- so that equals are claimed in their order
  redis.call('HSET', P..'j:'..id, 'lane', lane, 'kind', job.kind, 'class', job.class, 'attempt', 0, 'max', job.max,
    'enqueued', now, 'state', 'ready')
  redis.call('SET', P..'p:'..id, job.payload)
  if job.dedup ~= '' then redis.call('HSET', P..'j:'..id, 'dedup', job.dedup) end
  local by = start_by(job, now)
  if by then redis.call('HSET', P..'j:'..id, 'start_by', by) end
  if job.waiting ~= '' then
    redis.call('HSET', P..'j:'..id, 'waiting', job.waiting)
    redis.call('ZADD', P..'w:'..job.waiting, id, id)
  end
  join_lane(lane, job.class, now + job.delay)
  redis.call('ZADD', P..'l:'..lane, id, id)
  redis.call('ZADD', P..'ready', id, id)
  redis.call('ZADD', P..'all', id, id)
  return id
end

-- Under the claim that its lane has: it may have begun, also when the lease has run out.
local function is_charged(job_receipt, lane)
  return job_receipt and job_receipt == redis.call('HGET', P..'m:'..lane, 'receipt')
end

-- Adds the job unless one of its kind, which no claim has charged, stands among the last of its lane.
local function insert_unless_waiting(job, now)
  if job.lane ~= '' then
    for _, id in ipairs(redis.call('ZREVRANGE', P..'l:'..job.lane, 0, SEARCHED_OF_LANE - 1)) do
      local j = redis.call('HMGET', P..'j:'..id, 'kind', 'receipt')
      if j[1] == job.kind and not is_charged(j[2], job.lane) then return 0 end
    end
  end
  insert(job, now)
  return 1
end

local function follow(first, last, now)
  local added = {}
  for i = first, last, FIELDS do added[#added + 1] = insert_unless_waiting(new_job(i), now) end
  return added
end
