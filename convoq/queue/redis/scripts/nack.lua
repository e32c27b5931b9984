-- now, lane, receipt, delay, error, reason, whether aside, whether unrun, the claim's class, how many keep their attempt,
-- those, pairs of those that do not: job, whether it had been begun before
local now, lane, receipt = clock(ARGV[1]), ARGV[2], ARGV[3]
local due, reason, unrun, charged = now + tonumber(ARGV[4]), ARGV[6], ARGV[8] == '1', tonumber(ARGV[10])
if not holds(lane, receipt) then return LOST end
for i = 11 + charged, #ARGV, 2 do
  for _, id in ipairs(still_held({ARGV[i]}, receipt)) do
    redis.call('HINCRBY', P..'j:'..id, 'attempt', -1)
    if unrun and ARGV[i + 1] == '0' then redis.call('HDEL', P..'j:'..id, 'claimed') end
  end
end
if ARGV[5] ~= '' then
  for _, id in ipairs(still_held(arguments(11, charged), receipt)) do
    redis.call('HSET', P..'j:'..id, 'error', ARGV[5])
  end
end
if ARGV[7] ~= '1' or is_own(lane) then
  free_lane(lane, now, due, reason, unrun)
  return 0
end
local aside = aside_of(lane)
if redis.call('EXISTS', P..'m:'..aside) == 1 then
  redis.call('ZADD', due_key(aside, redis.call('HGET', P..'m:'..aside, 'class')), 'LT', due, aside)
else
  redis.call('HSET', P..'m:'..aside, 'class', ARGV[9], 'of', lane)
  if reason ~= '' then redis.call('HSET', P..'m:'..aside, 'reason', reason) end
  redis.call('ZADD', due_key(aside, ARGV[9]), due, aside)
end
for _, id in ipairs(still_held(held_ids(lane), receipt)) do
  redis.call('ZREM', P..'l:'..lane, id)
  redis.call('ZADD', P..'l:'..aside, id, id)
  redis.call('HSET', P..'j:'..id, 'line', aside)
end
free_lane(lane, now, now, '', false)
wake()
return 0
