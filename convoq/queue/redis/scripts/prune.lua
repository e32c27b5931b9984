-- now, age, limit; returns how many jobs that ended longer ago are gone
local before = clock(ARGV[1]) - tonumber(ARGV[2])
local old = redis.call('ZRANGEBYSCORE', P..'ended', '-inf', '('..before, 'LIMIT', 0, ARGV[3])
for _, id in ipairs(old) do delete(id) end
return #old
