-- lane, receipt, jobs; returns those that the claim still has
if not holds(ARGV[1], ARGV[2]) then return LOST end
return still_held(arguments(3, #ARGV - 2), ARGV[2])
