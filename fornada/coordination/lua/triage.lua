-- Find jobs that need attention, or are another queue's: their positions, `lost`, `unclear` or
-- `other`, the lost shards, and those of them that were begun or enqueued once.
-- KEYS: of each job: counters, done, leases, enqueued. ARGV: queue, how long a message may wait in
-- ms, the asker's own lease in ms.
-- An item has a byte, and a small job's have 64 KiB.
local MOST_SMALL_SHARDS = 64 * 1024
local clock_ms = queue_ms(ARGV[1])
local oldest_ms = clock_ms - ARGV[2]
local function is_enqueued(enqueued, shard)
  local since_ms = tonumber(redis.call('ZSCORE', enqueued, shard))
  if since_ms and since_ms > clock_ms then
    -- By another clock: it waits from now on.
    redis.call('ZADD', enqueued, string.format('%.0f', clock_ms), shard)
    return true
  end
  return since_ms and since_ms >= oldest_ms
end
local function state_of(job, done, leases, enqueued)
  local facts = redis.call('HMGET', job, 'shards', 'deadline_ms', 'queue')
  local shards, deadline_ms, queue = tonumber(facts[1]), tonumber(facts[2]), facts[3]
  if queue and queue ~= ARGV[1] then return 'other', {} end
  -- Anyone may have written `inf`, `nan` or a number that the server would count to for minutes.
  local is_small = shards and shards >= 1 and shards <= MOST_SMALL_SHARDS and shards % 1 == 0
  if not is_small or (deadline_ms and now_ms > deadline_ms) then return 'unclear', {} end
  local lost, seen, done_count = {}, {}, 0
  for shard = 0, shards - 1 do
    if redis.call('GETBIT', done, shard) == 1 then
      done_count = done_count + 1
    elseif not holder_of(redis.call('HGET', leases, shard), ARGV[1], ARGV[3]) and not is_enqueued(enqueued, shard) then
      lost[#lost + 1] = shard
      local is_seen = redis.call('HEXISTS', leases, shard) == 1 or redis.call('ZSCORE', enqueued, shard)
      if is_seen then seen[#seen + 1] = shard end
    end
  end
  if done_count == shards then return 'unclear', {} end
  return #lost > 0 and 'lost' or 'fine', lost, seen
end
local found = {}
for i = 0, #KEYS / 4 - 1 do
  local state, lost, seen = state_of(unpack(KEYS, 4 * i + 1, 4 * i + 4))
  if state ~= 'fine' then found[#found + 1] = {i, state, lost, seen or {}} end
end
return found
