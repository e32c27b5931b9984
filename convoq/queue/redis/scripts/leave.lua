-- a worker that ends; one that leaves claims behind stays known, so that others take them over
if redis.call('EXISTS', P..'c:'..ARGV[1]) == 0 then redis.call('HDEL', P..'workers', ARGV[1]) end
return 0
