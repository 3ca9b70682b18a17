-- List new jobs as open, and mark all their shards as enqueued if the queue has room.
-- KEYS: open jobs, newest jobs, queue, then of each job: counters, enqueued.
-- ARGV: window, how long to keep counters in ms, how many newest jobs to keep, then of each job:
-- id, shards, deadline in ms or ''.
local at = string.format('%.0f', now_ms)
local room = redis.call('LLEN', KEYS[3]) < tonumber(ARGV[1])
for i = 0, (#KEYS - 3) / 2 - 1 do
  local job, enqueued = KEYS[4 + 2 * i], KEYS[5 + 2 * i]
  local id, shards, deadline_ms = unpack(ARGV, 4 + 3 * i, 6 + 3 * i)
  redis.call('SADD', KEYS[1], id)
  redis.call('ZADD', KEYS[2], now_ms, id)
  redis.call('HSET', job, 'counted', at, 'shards', shards, 'deadline_ms', deadline_ms)
  redis.call('HSET', job, 'queue', KEYS[3])
  redis.call('PEXPIRE', job, ARGV[2])
  if room then
    local enqueued_at = string.format('%.0f', queue_ms(KEYS[3]))
    for shard = 0, shards - 1 do redis.call('ZADD', enqueued, enqueued_at, shard) end
    redis.call('PEXPIRE', enqueued, ARGV[2])
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -ARGV[3] - 1)
return room and 1 or 0
