-- now, lane, receipt, the claim's class, whether the jobs are forgotten, how many they are, jobs, kinds run together
local now, lane, receipt, class, count = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[6])
if not holds(lane, receipt) then return LOST end
done(arguments(7, count), receipt, now, ARGV[5])
local jobs, has_more = front(lane, set_of(7 + count), now)
-- A lane that has become more urgent is not run on in a slot of the class that it had: it is claimed anew.
if #jobs == 0 or redis.call('HGET', P..'m:'..lane, 'class') ~= class or not is_of_class(jobs[1], class) then
  free_lane(lane, now, now, '', false)
  return 0
end
return {now, has_more, charge(lane, jobs, now, receipt)}
