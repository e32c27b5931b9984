-- now, how many jobs, jobs, lanes that are due now; returns of each job whether it was added
local now, last = clock(ARGV[1]), 2 + ARGV[2] * FIELDS
local added = follow(3, last, now)
for i = last + 1, #ARGV do kick(ARGV[i], now) end
if ARGV[3] then wake() end
return added
