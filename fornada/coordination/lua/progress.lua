-- A snapshot of a job: the time, its queue's clock, and what is done, leased, running, enqueued,
-- failed, counted and held up.
-- KEYS: done, leases, enqueued, failed, counters, held up.
-- ARGV: queue, the asker's own lease in ms, the last byte that a job's marks can have: anyone may have set one far out.
local leased, running, unseen_ms = {}, {}, {}
local function unseen_for(queue)
  local seen_ms = tonumber(redis.call('HGET', LEADER .. queue, 'at_ms')) or now_ms
  return math.abs(now_ms - seen_ms)
end
local leases = redis.call('HGETALL', KEYS[2])
for i = 1, #leases, 2 do
  local holder, queue, lease_ms, is_over = holder_of(leases[i + 1], ARGV[1], ARGV[2])
  if holder then
    leased[#leased + 1] = leases[i]
    -- The clock of a queue without workers stands still, and its leases with it.
    unseen_ms[queue] = unseen_ms[queue] or unseen_for(queue)
    if unseen_ms[queue] < lease_ms and not is_over then running[#running + 1] = leases[i] end
  end
end
return {
  now_ms, queue_ms(ARGV[1]), redis.call('GETRANGE', KEYS[1], 0, ARGV[3]), leased, running,
  redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', KEYS[4]), redis.call('HGETALL', KEYS[5]), redis.call('HGETALL', KEYS[6]),
}
