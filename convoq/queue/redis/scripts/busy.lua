-- ordering keys; returns which of them have ready or running jobs
local found = {}
for i, lane in ipairs(ARGV) do
  if redis.call('EXISTS', P..'m:'..lane, P..'m:'..aside_of(lane)) > 0 then found[#found + 1] = i - 1 end
end
return found
