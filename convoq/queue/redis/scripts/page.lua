-- now, an index, from where, limit, whether oldest first, or "ids" and ids; returns now and each job as operators see it
local now, ids = clock(ARGV[1]), {}
if ARGV[2] == 'ids' then
  ids = arguments(3, #ARGV - 2)
elseif ARGV[5] == '1' then
  ids = redis.call('ZRANGEBYSCORE', P..ARGV[2], ARGV[3], '+inf', 'LIMIT', 0, ARGV[4])
else
  ids = redis.call('ZREVRANGEBYSCORE', P..ARGV[2], ARGV[3], '-inf', 'LIMIT', 0, ARGV[4])
end
local rows = {now}
for _, id in ipairs(ids) do
  local j = redis.call('HMGET', P..'j:'..id, 'lane', 'line', 'kind', 'state', 'attempt', 'max', 'class', 'enqueued',
    'claimed', 'finished', 'error', 'dedup', 'receipt', 'waiting')
  if j[1] then
    local due, running, scheduled, m = false, 0, 0, {false, false, false, false}
    if j[4] == 'ready' then
      local line = j[2] or j[1]
      m = redis.call('HMGET', P..'m:'..line, 'class', 'receipt', 'worker', 'reason')
      due = lane_due(line, m[1])
      if m[2] and m[2] == j[13] and due > now then running = 1 end
      if not m[2] and due > now then scheduled = 1 end
    end
    rows[#rows + 1] = {
      id, j[1], j[3], redis.call('GET', P..'p:'..id), j[4], j[5], j[6], j[7], j[8], j[9], j[10], due, running, m[3],
      j[11], j[12], m[4], scheduled, m[2] and 1 or 0,
    }
  end
end
return rows
