-- now, lane, receipt, state, why, whether they have cost nothing, how many, jobs, jobs that are due instead
local now, lane, receipt, count = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[7])
-- What they are due for has been settled in the store, whoever has the claim by now.
follow(8 + count, #ARGV, now)
wake()
if not holds(lane, receipt) then return LOST end
for _, id in ipairs(still_held(arguments(8, count), receipt)) do
  if ARGV[6] == '1' then redis.call('HINCRBY', P..'j:'..id, 'attempt', -1) end
  finish(id, ARGV[4], now, ARGV[5])
end
if #still_held(held_ids(lane), receipt) == 0 then free_lane(lane, now, now, '', false) end
return 0
