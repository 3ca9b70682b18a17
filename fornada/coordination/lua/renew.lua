-- Extend leases, and take those that were lost; those of other attempts stay, as do those of
-- attempts that are over. KEYS: of each attempt: leases.
-- ARGV: queue, lease in ms, then of each attempt: shard, id.
for i = 1, #KEYS do
  local leases, shard, attempt = KEYS[i], ARGV[2 * i + 1], ARGV[2 * i + 2]
  local holder, _, _, is_over = holder_of(redis.call('HGET', leases, shard), ARGV[1], ARGV[2])
  if not holder or (holder == attempt and not is_over) then
    redis.call('HSET', leases, shard, new_lease(attempt, ARGV[1], ARGV[2]))
  end
end
