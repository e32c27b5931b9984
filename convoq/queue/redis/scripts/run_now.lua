-- now, how many, jobs, jobs that are due instead; returns how many jobs have waited for their time
local now, count, lanes, moved = clock(ARGV[1]), tonumber(ARGV[2]), {}, 0
for _, id in ipairs(arguments(3, count)) do
  local j = redis.call('HMGET', P..'j:'..id, 'state', 'lane', 'line')
  if j[1] == 'ready' then
    local line = j[3] or j[2]
    local m = redis.call('HMGET', P..'m:'..line, 'class', 'receipt')
    -- Whatever the claim of its lane goes back with, it does not wait either.
    if m[2] or lane_due(line, m[1]) > now then
      lanes[#lanes + 1] = {j[2], line}
      moved = moved + 1
    end
  end
end
for _, lane in ipairs(lanes) do
  rejoin(lane[2], now)
  kick(lane[1], now)
end
follow(3 + count, #ARGV, now)
wake()
return moved
