-- Take or renew a lease, unless another holds it. KEYS: lease. ARGV: holder, queue, lease in ms.
local holder = holder_of(redis.call('GET', KEYS[1]), ARGV[2], ARGV[3])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], new_lease(ARGV[1], ARGV[2], ARGV[3]), 'PX', ARGV[3])
return 1
