-- now, jobs; returns how many are gone, whatever they were doing
local now, gone = clock(ARGV[1]), 0
for _, id in ipairs(arguments(2, #ARGV - 1)) do
  local j = redis.call('HMGET', P..'j:'..id, 'state', 'lane', 'line', 'receipt')
  if j[1] then
    gone = gone + 1
    if j[1] == 'ready' then
      local line = j[3] or j[2]
      local receipt = redis.call('HGET', P..'m:'..line, 'receipt')
      leave_line(id)
      -- What is left in its lane waits for nothing that was erased; a claim that ran it is lost.
      if is_empty(line) then drop_lane(line) elseif not receipt or receipt == j[4] then free_lane(line, now, now, '', false) end
    end
    delete(id)
  end
end
wake()
return gone
