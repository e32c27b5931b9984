-- now, how many, jobs, jobs that are due instead; returns how many jobs stand in their lane again
local now, count, revived = clock(ARGV[1]), tonumber(ARGV[2]), 0
for _, id in ipairs(arguments(3, count)) do
  local key = P..'j:'..id
  local j = redis.call('HMGET', key, 'state', 'lane', 'class')
  if j[1] == 'dead' or j[1] == 'cancelled' then
    join_lane(j[2], j[3], now)
    kick(j[2], now)
    redis.call('ZREM', P..'dead', id)
    redis.call('ZREM', P..'ended', id)
    redis.call('HSET', key, 'state', 'ready', 'attempt', 0)
    redis.call('HDEL', key, 'finished', 'claimed', 'receipt', 'start_by', 'waiting')
    redis.call('ZADD', P..'l:'..j[2], id, id)
    redis.call('ZADD', P..'ready', id, id)
    revived = revived + 1
  end
end
follow(3 + count, #ARGV, now)
wake()
return revived
