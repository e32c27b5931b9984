-- now, lease, pairs of lane and receipt; returns which of them are lost
local now, lease, lost = clock(ARGV[1]), tonumber(ARGV[2]), {}
for i = 3, #ARGV, 2 do
  if holds(ARGV[i], ARGV[i + 1]) then
    redis.call('ZADD', due_key(ARGV[i], redis.call('HGET', P..'m:'..ARGV[i], 'class')), now + lease, ARGV[i])
  else
    lost[#lost + 1] = (i - 3) / 2
  end
end
return lost
