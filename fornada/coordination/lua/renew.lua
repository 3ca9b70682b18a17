-- Extend leases, and take those that were lost; leases of other attempts stay.
-- KEYS: of each attempt: leases. ARGV: lease in ms, then of each attempt: shard, id.
for i = 1, #KEYS do
  local leases, shard, attempt = KEYS[i], ARGV[2 * i], ARGV[2 * i + 1]
  local holder = holder_of(redis.call('HGET', leases, shard))
  if not holder or holder == attempt then
    redis.call('HSET', leases, shard, string.format('%s %.0f', attempt, now_ms + ARGV[1]))
  end
end
