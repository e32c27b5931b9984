-- now, lease, worker, receipts' beginning, limit, reserve, background, first, kinds that are run together
local now, worker = clock(ARGV[1]), ARGV[3]
local until_then, limit, background = now + tonumber(ARGV[2]), tonumber(ARGV[5]), tonumber(ARGV[7])
local together = set_of(9)
local claims = {now}

local function claim_lane(lane, class)
  local jobs, has_more = front(lane, together, now)
  if #jobs == 0 then return drop_lane(lane) end
  local key = P..'m:'..lane
  if not is_of_class(jobs[1], class) then
    local score = redis.call('ZSCORE', due_key(lane, class), lane)
    redis.call('ZREM', due_key(lane, class), lane)
    redis.call('ZADD', due_key(lane, jobs[1].class), score, lane)
    redis.call('HSET', key, 'class', jobs[1].class)
    return
  end
  local receipt = ARGV[4]..'-'..#claims
  local m = redis.call('HMGET', key, 'crashes', 'crashed')
  drop_holder(lane)
  redis.call('HDEL', key, 'reason', 'kicked')
  redis.call('HSET', key, 'receipt', receipt, 'worker', worker)
  redis.call('SADD', P..'c:'..worker, lane)
  redis.call('ZADD', due_key(lane, class), until_then, lane)
  local crashes = m[2] and tonumber(m[2]) > now - CRASHES_FADE and tonumber(m[1]) or 0
  claims[#claims + 1] = {lane, receipt, class, crashes, has_more, charge(lane, jobs, now, receipt)}
end

-- How many it took.
local function claim_class(class, most)
  local before = #claims
  if most > 0 then
    for _, lane in ipairs(redis.call('ZRANGEBYSCORE', P..'d:'..class, '-inf', now, 'LIMIT', 0, most)) do
      claim_lane(lane, class)
    end
  end
  return #claims - before
end

for class = INTAKE, UPKEEP do
  for _, aside in ipairs(redis.call('ZRANGEBYSCORE', P..'a:'..class, '-inf', now)) do rejoin(aside, now) end
end
claim_class(INTAKE, tonumber(ARGV[6]))
local left = limit
local function serve(class, most)
  local taken = claim_class(class, math.min(most, left, class == PEOPLE and limit or background))
  left = left - taken
  if class ~= PEOPLE then background = background - taken end
end
if ARGV[8] ~= '' then serve(tonumber(ARGV[8]), 1) end
for class = INTAKE + 1, UPKEEP do serve(class, limit) end
return claims
