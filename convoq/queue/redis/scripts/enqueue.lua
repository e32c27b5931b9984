-- now, dedup retention, whether every call writes, jobs
local now, retention = clock(ARGV[1]), tonumber(ARGV[2])

local function original_of(job)
  if job.digest == '' then return false end
  local known = redis.call('GET', P..'k:'..job.digest)
  local id, at = string.match(known or '', '^(%d+):(%d+)$')
  return id and tonumber(at) >= now - retention and id
end

local function take_key(job, id)
  if job.digest ~= '' then redis.call('SET', P..'k:'..job.digest, id..':'..now, 'PX', retention) end
end

-- The one of its waiting key that waits, rather one that has not been begun.
local function waiting_of(job)
  local begun = false
  if job.waiting == '' then return false end
  for _, id in ipairs(redis.call('ZRANGE', P..'w:'..job.waiting, 0, -1)) do
    local j = redis.call('HMGET', P..'j:'..id, 'lane', 'line', 'receipt', 'claimed')
    if not is_charged(j[3], j[2] or j[1]) then
      if not j[4] then return id end
      begun = begun or id
    end
  end
  return begun
end

-- Without a time to be begun by it stays so: a person has asked for it.
local function renew(id, job)
  local key = P..'j:'..id
  local j = redis.call('HMGET', key, 'claimed', 'start_by')
  if j[1] then return end
  redis.call('HSET', key, 'kind', job.kind)
  redis.call('SET', P..'p:'..id, job.payload)
  local by = start_by(job, now)
  if j[2] and by then
    redis.call('HSET', key, 'start_by', math.max(tonumber(j[2]), by))
  else
    redis.call('HDEL', key, 'start_by')
  end
end

local results = {}
for i = 4, #ARGV, FIELDS do
  local job = new_job(i)
  local original = original_of(job)
  local waiting = not original and waiting_of(job)
  if original then
    results[#results + 1] = {original, 1, 0}
  elseif waiting then
    take_key(job, waiting)
    renew(waiting, job)
    results[#results + 1] = {waiting, 0, 1}
  else
    local id = insert(job, now)
    take_key(job, id)
    results[#results + 1] = {tostring(id), 0, 0}
  end
end
-- WAIT counts replicas that have what its connection wrote last: a duplicate's original may not be there yet.
if ARGV[3] == '1' then redis.call('INCR', P..'calls') end
wake()
return results
