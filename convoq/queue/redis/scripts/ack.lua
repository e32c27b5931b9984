-- now, lane, receipt, whether the jobs are forgotten, jobs
local now, lane, receipt = clock(ARGV[1]), ARGV[2], ARGV[3]
if not holds(lane, receipt) then return LOST end
done(arguments(5, #ARGV - 4), receipt, now, ARGV[4])
free_lane(lane, now, now, '', false)
return 0
