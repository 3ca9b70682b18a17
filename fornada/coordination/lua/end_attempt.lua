-- Note that an attempt is over, and keep its lease: the shard rests until the lease runs out.
-- KEYS: leases. ARGV: shard, id of the attempt.
local lease = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local holder, rest = string.match(lease, '^(%S+) %S+ %d+ %d+(.*)$')
if holder == ARGV[2] and rest == '' then redis.call('HSET', KEYS[1], ARGV[1], lease .. ' over') end
