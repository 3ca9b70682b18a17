-- Count outcomes of a job's shards; return how many shards have one.
-- KEYS: done, failed, enqueued, attempts, errors, leases.
-- ARGV: how long to keep counters in ms, then of each shard: its number, `dead` or failed items.
local done, failed, enqueued = KEYS[1], KEYS[2], KEYS[3]
for i = 2, #ARGV, 2 do
  local shard, what = ARGV[i], ARGV[i + 1]
  redis.call('SETBIT', done, shard, 1)
  for k = 4, 6 do redis.call('HDEL', KEYS[k], shard) end
  redis.call('ZREM', enqueued, shard)
  if what ~= '0' then redis.call('HSET', failed, shard, what) end
end
redis.call('PEXPIRE', done, ARGV[1])
redis.call('PEXPIRE', failed, ARGV[1])
return redis.call('BITCOUNT', done)
