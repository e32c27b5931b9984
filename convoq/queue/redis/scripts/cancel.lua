-- now, how many, jobs, jobs that are due instead; returns how many were cancelled
local now, count, cancelled = clock(ARGV[1]), tonumber(ARGV[2]), 0

-- The lane waits for what the job at its front has been put back with.
local function end_wait(line, class)
  if due_key(line, class) == P..'d:'..class then
    redis.call('ZADD', due_key(line, class), 'LT', now, line)
    redis.call('HDEL', P..'m:'..line, 'reason')
  end
end

for _, id in ipairs(arguments(3, count)) do
  local j = redis.call('HMGET', P..'j:'..id, 'state', 'lane', 'line', 'receipt')
  if j[1] == 'ready' then
    local line = j[3] or j[2]
    local m = redis.call('HMGET', P..'m:'..line, 'class', 'receipt')
    local charged = m[2] and m[2] == j[4]
    if not (charged and lane_due(line, m[1]) > now) then
      local was_first = redis.call('ZRANGE', P..'l:'..line, 0, 0)[1] == id
      finish(id, 'cancelled', now, '')
      cancelled = cancelled + 1
      if not m[2] then
        if is_empty(line) then drop_lane(line) elseif was_first then end_wait(line, m[1]) end
      end
    end
  end
end
follow(3 + count, #ARGV, now)
wake()
return cancelled
