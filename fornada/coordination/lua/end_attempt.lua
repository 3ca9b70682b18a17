-- Note that an attempt is over, and keep its lease: the shard rests until the lease runs out.
-- KEYS: leases. ARGV: shard, id of the attempt.
local lease = redis.call('HGET', KEYS[1], ARGV[1])
local holder, _, _, is_over = holder_of(lease)
if holder == ARGV[2] and not is_over then redis.call('HSET', KEYS[1], ARGV[1], lease .. ' over') end
