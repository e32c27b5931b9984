-- now, a dead worker; returns how many lanes are due again
local now, worker, count = clock(ARGV[1]), ARGV[2], 0
for _, lane in ipairs(redis.call('SMEMBERS', P..'c:'..worker)) do
  local key = P..'m:'..lane
  local m = redis.call('HMGET', key, 'worker', 'class', 'crashes', 'crashed')
  if m[1] == worker then
    local crashes = m[4] and tonumber(m[4]) > now - CRASHES_FADE and tonumber(m[3]) or 0
    redis.call('HDEL', key, 'receipt', 'worker', 'held', 'kicked')
    redis.call('HSET', key, 'crashes', crashes + 1, 'crashed', now)
    redis.call('ZADD', due_key(lane, m[2]), 'LT', now, lane)
    count = count + 1
  end
end
redis.call('DEL', P..'c:'..worker)
redis.call('HDEL', P..'workers', worker)
if count > 0 then wake() end
return count
