-- List new jobs as open, and mark all their shards as enqueued if the queue has room.
-- KEYS: open jobs, queue, then of each job: counters, enqueued.
-- ARGV: window, how long to keep counters in ms, then of each job: id, shards, deadline in ms or ''.
local at = string.format('%.0f', now_ms)
local room = redis.call('LLEN', KEYS[2]) < tonumber(ARGV[1])
for i = 0, (#KEYS - 2) / 2 - 1 do
  local job, enqueued = KEYS[3 + 2 * i], KEYS[4 + 2 * i]
  local id, shards, deadline_ms = unpack(ARGV, 3 + 3 * i, 5 + 3 * i)
  redis.call('SADD', KEYS[1], id)
  redis.call('HSET', job, 'counted', at, 'shards', shards, 'deadline_ms', deadline_ms)
  redis.call('PEXPIRE', job, ARGV[2])
  if room then
    for shard = 0, shards - 1 do redis.call('ZADD', enqueued, at, shard) end
    redis.call('PEXPIRE', enqueued, ARGV[2])
  end
end
return room and 1 or 0
