-- Count attempts and take leases. Attempts are counted by id, so a client's retry counts once.
-- KEYS: of each attempt: counters, attempts, leases, done, ended, enqueued.
-- ARGV: queue, lease in ms, how long to keep counters in ms, then of each attempt: shard, id.
local queue, lease_ms, forget_ms = ARGV[1], ARGV[2], ARGV[3]
local function begin(job, attempts, leases, done, ended, enqueued, shard, attempt)
  if redis.call('EXISTS', ended) == 1 then return 'ended', 0 end
  if redis.call('GETBIT', done, shard) == 1 then return 'done', 0 end
  local holder = holder_of(redis.call('HGET', leases, shard), queue, lease_ms)
  if holder and holder ~= attempt then
    -- Its message is gone too: the shard is lost as soon as that lease runs out.
    redis.call('ZREM', enqueued, shard)
    return 'leased', 0
  end
  local ids = redis.call('HGET', attempts, shard) or ''
  if not string.find(' ' .. ids, ' ' .. attempt .. ' ', 1, true) then
    ids = ids .. attempt .. ' '
    redis.call('HSET', attempts, shard, ids)
    redis.call('HINCRBY', job, 'attempts', 1)
    redis.call('HSETNX', job, 'started_ms', string.format('%.0f', now_ms))
  end
  redis.call('HSET', leases, shard, new_lease(attempt, queue, lease_ms))
  redis.call('ZREM', enqueued, shard)
  -- A small job ends too soon for that.
  if redis.call('HEXISTS', job, 'shards') == 0 then tell_progress(job) end
  for _, key in ipairs({job, attempts, leases}) do redis.call('PEXPIRE', key, forget_ms) end
  local _, count = string.gsub(ids, ' ', '')
  return 'begun', count
end
local begun = {now_ms}
for i = 0, #KEYS / 6 - 1 do
  local job, attempts, leases, done, ended, enqueued = unpack(KEYS, 6 * i + 1, 6 * i + 6)
  local shard, attempt = unpack(ARGV, 2 * i + 4, 2 * i + 5)
  local status, count = begin(job, attempts, leases, done, ended, enqueued, shard, attempt)
  begun[#begun + 1] = status
  begun[#begun + 1] = count
  begun[#begun + 1] = redis.call('HEXISTS', job, 'counted')
end
return begun
