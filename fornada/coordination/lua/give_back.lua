-- Uncount attempts, release their leases, and note why a process cannot go on with their jobs.
-- KEYS: of each attempt: counters, attempts, leases, enqueued, held up.
-- ARGV: the process, why, how long to keep that in ms, most processes noted, then of each attempt:
-- shard, id.
local process, why, keep_ms, most = unpack(ARGV, 1, 4)
for i = 0, #KEYS / 5 - 1 do
  local job, attempts, leases, enqueued, held_up = unpack(KEYS, 5 * i + 1, 5 * i + 5)
  local shard, attempt = unpack(ARGV, 2 * i + 5, 2 * i + 6)
  local ids = redis.call('HGET', attempts, shard) or ''
  local first, last = string.find(' ' .. ids, ' ' .. attempt .. ' ', 1, true)
  if first then
    redis.call('HSET', attempts, shard, string.sub(ids, 1, first - 1) .. string.sub(ids, last))
    redis.call('HINCRBY', job, 'attempts', -1)
  end
  local lease = redis.call('HGET', leases, shard)
  if lease and string.match(lease, '^%S+') == attempt then redis.call('HDEL', leases, shard) end
  redis.call('ZREM', enqueued, shard)
  if redis.call('HLEN', held_up) < tonumber(most) or redis.call('HEXISTS', held_up, process) == 1 then
    redis.call('HSET', held_up, process, why)
  end
  redis.call('PEXPIRE', held_up, keep_ms)
end
