-- Count outcomes of a job's shards; return how many shards have one.
-- KEYS: done, failed, enqueued, attempts, errors, leases, counters.
-- ARGV: how long to keep counters in ms, then of each shard: its number, `dead` or failed items.
local done, failed, enqueued = KEYS[1], KEYS[2], KEYS[3]
for i = 2, #ARGV, 2 do
  local shard, what = ARGV[i], ARGV[i + 1]
  redis.call('SETBIT', done, shard, 1)
  for k = 4, 6 do redis.call('HDEL', KEYS[k], shard) end
  redis.call('ZREM', enqueued, shard)
  if what ~= '0' then redis.call('HSET', failed, shard, what) end
end
tell_progress(KEYS[7])
for _, key in ipairs({done, failed, KEYS[7]}) do redis.call('PEXPIRE', key, ARGV[1]) end
return redis.call('BITCOUNT', done)
