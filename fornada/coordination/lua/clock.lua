-- Prepended to every script. Deadlines go by the server's clock. Leases and waits go by the clock
-- of a queue, which moves only while a reconciler leads the queue (beat.lua).
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local clocks = {}
-- As FORNADA_LEASE_S: a longer one is not a worker's.
local MOST_LEASE_MS = 3600 * 1000
local function queue_ms(queue)
  local ms = clocks[queue] or tonumber(redis.pcall('HGET', LEADER .. queue, 'clock_ms')) or 0
  -- Nobody led for 30,000 years; on such a number a second is lost.
  clocks[queue] = ms >= 0 and ms < 1e15 and ms or 0
  return clocks[queue]
end
-- A lease is the attempt, its queue, that one's clock and for how long, in ms, and ` over` once the
-- attempt has ended without an outcome.
local function new_lease(attempt, queue, lease_ms)
  return string.format('%s %s %.0f %s', attempt, queue, queue_ms(queue), lease_ms)
end
-- The attempt that holds a lease, its queue, for how long, and whether the attempt is over.
-- A lease from the future is of a clock that was lost: nobody holds it, nor one that is no lease.
local function holder_of(lease)
  local attempt, queue, since_ms, lease_ms, rest =
    string.match(lease or '', '^(%S+) (%S+) (%d+) (%d+)(.*)$')
  if not attempt then return false end
  local age_ms = queue_ms(queue) - since_ms
  if age_ms < 0 or age_ms >= math.min(lease_ms, MOST_LEASE_MS) then return false end
  return attempt, queue, tonumber(lease_ms), rest ~= ''
end
