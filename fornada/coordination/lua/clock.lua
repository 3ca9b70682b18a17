-- Prepended to every script. Deadlines go by the server's clock. Leases and waits go by the clock
-- of a queue, which moves only while a reconciler leads the queue (beat.lua).
local server = redis
-- Anyone may have put another type under a key of ours, or text where we count. All of it may be
-- lost, so it goes, and the command runs as on what was never there.
local redis = {pcall = server.pcall}
function redis.call(command, key, ...)
  local answer = server.pcall(command, key, ...)
  local failure = type(answer) == 'table' and answer.err
  if not failure then return answer end
  if failure:find('WRONGTYPE') and key:find('^fornada:') then
    server.call('DEL', key)
  elseif command == 'HINCRBY' and (failure:find('hash value') or failure:find('overflow')) then
    server.call('HDEL', key, (...))
  end
  -- Any other failure once more, as an error of Redis.
  return server.call(command, key, ...)
end
local time = server.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local clocks = {}
local function queue_ms(queue)
  local ms = clocks[queue] or tonumber(redis.call('HGET', LEADER .. queue, 'clock_ms')) or 0
  -- Nobody led for 30,000 years; on such a number a second is lost.
  clocks[queue] = ms >= 0 and ms < 1e15 and ms or 0
  return clocks[queue]
end
-- A lease is the attempt, its queue, that one's clock and for how long, in ms, and ` over` once the
-- attempt has ended without an outcome.
local function new_lease(attempt, queue, lease_ms)
  return string.format('%s %s %.0f %s', attempt, queue, queue_ms(queue), lease_ms)
end
-- Whether somebody moved the clock of a queue within this time. Nobody works for one that is not
-- led, and a lease by a clock that stands would never run out.
local function is_led(queue, within_ms)
  local at_ms = tonumber(redis.call('HGET', LEADER .. queue, 'at_ms'))
  return at_ms and math.abs(now_ms - at_ms) < within_ms
end
-- The attempt that holds a lease, its queue, for how long, and whether the attempt is over.
-- A lease from the future is of a clock that was lost: nobody holds it, nor one that is no lease,
-- nor one of a queue that is neither our own nor led. It holds for as long as one of the asker's
-- own, `most_ms`: anyone may have written a longer one.
local function holder_of(lease, own_queue, most_ms)
  local attempt, queue, since_ms, lease_ms, rest =
    string.match(lease or '', '^(%S+) (%S+) (%d+) (%d+)(.*)$')
  if not attempt then return false end
  lease_ms = math.min(lease_ms, most_ms)
  if queue ~= own_queue and not is_led(queue, lease_ms) then return false end
  local age_ms = queue_ms(queue) - since_ms
  if age_ms < 0 or age_ms >= lease_ms then return false end
  return attempt, queue, lease_ms, rest ~= ''
end
-- Tell listeners of a job, by the key of its counters, that shards of it began or ended.
local function tell_progress(job)
  local told_ms = tonumber(redis.call('HGET', job, 'told_ms')) or 0
  if math.abs(now_ms - told_ms) < TOLD_EVERY_MS then return end
  redis.call('HSET', job, 'told_ms', string.format('%.0f', now_ms))
  server.call('PUBLISH', NOTICES .. string.sub(job, #JOB + 1), 'progress')
end
