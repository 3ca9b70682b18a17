-- Find jobs that need attention: their positions, and their lost shards, or none if unclear.
-- KEYS: of each job: counters, done, leases, enqueued. ARGV: how long a message may wait in ms.
local oldest_ms = now_ms - ARGV[1]
local function lost_of(job, done, leases, enqueued)
  local shards, deadline_ms = unpack(redis.call('HMGET', job, 'shards', 'deadline_ms'))
  if not shards then return nil end
  if deadline_ms ~= '' and now_ms > tonumber(deadline_ms) then return nil end
  local lost, done_count = {}, 0
  for shard = 0, shards - 1 do
    if redis.call('GETBIT', done, shard) == 1 then
      done_count = done_count + 1
    elseif not holder_of(redis.call('HGET', leases, shard)) then
      local since_ms = redis.call('ZSCORE', enqueued, shard)
      if not since_ms or tonumber(since_ms) < oldest_ms then lost[#lost + 1] = shard end
    end
  end
  if done_count == tonumber(shards) then return nil end
  return lost
end
local found = {}
for i = 0, #KEYS / 4 - 1 do
  local lost = lost_of(unpack(KEYS, 4 * i + 1, 4 * i + 4))
  if not lost or #lost > 0 then found[#found + 1] = {i, lost or {}} end
end
return found
