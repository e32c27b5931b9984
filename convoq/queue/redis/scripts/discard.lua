-- now, how many, jobs, jobs that are due instead; returns how many are gone
local now, count, gone = clock(ARGV[1]), tonumber(ARGV[2]), 0
for _, id in ipairs(arguments(3, count)) do
  local state = redis.call('HGET', P..'j:'..id, 'state')
  if state and state ~= 'ready' then
    delete(id)
    gone = gone + 1
  end
end
follow(3 + count, #ARGV, now)
wake()
return gone
