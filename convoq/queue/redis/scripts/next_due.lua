-- now, classes; returns the ms until the first of their lanes is due
local now, first = clock(ARGV[1]), false
for i = 2, #ARGV do
  for _, key in ipairs({P..'d:'..ARGV[i], P..'a:'..ARGV[i]}) do
    local due = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
    if due and (not first or due < first) then first = due end
  end
end
return first and math.max(0, first - now)
