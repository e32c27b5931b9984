-- now, an index, from where, limit; returns the last job looked at, and of each kind what it found
local now, kinds, order = clock(ARGV[1]), {}, {}
local ids = redis.call('ZRANGEBYSCORE', P..ARGV[2], ARGV[3], '+inf', 'LIMIT', 0, ARGV[4])
for _, id in ipairs(ids) do
  local j = redis.call('HMGET', P..'j:'..id, 'kind', 'lane', 'line', 'receipt', 'enqueued', 'claimed', 'waiting')
  if j[1] then
    local k = kinds[j[1]]
    if not k then
      k = {j[1], 0, 0, 0, 0, false, 0, false}
      kinds[j[1]], order[#order + 1] = k, k
    end
    local enqueued = tonumber(j[5])
    if ARGV[2] == 'dead' then
      k[5] = k[5] + 1
    else
      local line = j[3] or j[2]
      local m = redis.call('HMGET', P..'m:'..line, 'class', 'receipt')
      local due = lane_due(line, m[1])
      local under_claim = m[2] and due > now
      if under_claim and m[2] == j[4] then
        k[4] = k[4] + 1
      elseif not m[2] and due > now then
        k[3] = k[3] + 1
      else
        k[2] = k[2] + 1
        -- The next run of a schedule that waits until the one before has ended: nothing is wrong with it.
        if not (j[7] and under_claim) then
          local since = is_own(j[2]) and math.max(enqueued, due) or enqueued
          k[6] = k[6] and math.min(k[6], since) or since
        end
      end
      if not j[6] then
        k[7] = k[7] + 1
        k[8] = k[8] and math.min(k[8], enqueued) or enqueued
      end
    end
  end
end
return {now, ids[#ids] or false, order}
