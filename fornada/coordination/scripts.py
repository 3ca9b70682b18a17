"""What Redis does in one step: scripts in Lua, by the server's own clock."""

_NOW = """
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function holder_of(lease)
  if not lease then return false end
  local attempt, until_ms = string.match(lease, '^(%S+) (%d+)$')
  if tonumber(until_ms) > now_ms then return attempt end
  return false
end
"""

#: List a job that is new, and count from here on, unless another producer of it does so already.
#: KEYS: open jobs, ended, then all counters, the job's first.
#: ARGV: id, for how long another may be about it, how long to keep.
OPEN_NEW = f"""{_NOW}
redis.call('SADD', KEYS[1], ARGV[1])
local since_ms = tonumber(redis.call('HGET', KEYS[3], 'counted') or 0)
if now_ms - since_ms < tonumber(ARGV[2]) then return end
local is_first = redis.call('EXISTS', KEYS[2], KEYS[3]) == 0
redis.call('DEL', unpack(KEYS, 2))
if is_first then
  redis.call('HSET', KEYS[3], 'counted', string.format('%.0f', now_ms))
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
"""
#: List jobs that are new, and note that all of their shards are about to be enqueued.
#: KEYS: open jobs, queue, then of each job: counters, enqueued.
#: ARGV: window, how long to keep, then of each job: id, shards, deadline in ms or nothing.
ADMIT = f"""{_NOW}
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
"""
#: Count attempts and take leases. Keyed by their ids, so that a client's retry counts once.
#: KEYS: of each attempt: counters, attempts, leases, done, ended, enqueued.
#: ARGV: length of the lease, how long to keep, then of each attempt: shard, its id.
BEGIN = f"""{_NOW}
local lease_ms, forget_ms = ARGV[1], ARGV[2]
local function begin(job, attempts, leases, done, ended, enqueued, shard, attempt)
  if redis.call('EXISTS', ended) == 1 then return 'ended', 0 end
  if redis.call('GETBIT', done, shard) == 1 then return 'done', 0 end
  local holder = holder_of(redis.call('HGET', leases, shard))
  if holder and holder ~= attempt then return 'leased', 0 end
  local ids = redis.call('HGET', attempts, shard) or ''
  if not string.find(' ' .. ids, ' ' .. attempt .. ' ', 1, true) then
    ids = ids .. attempt .. ' '
    redis.call('HSET', attempts, shard, ids)
    redis.call('HINCRBY', job, 'attempts', 1)
    redis.call('HSETNX', job, 'started_ms', string.format('%.0f', now_ms))
  end
  redis.call('HSET', leases, shard, string.format('%s %.0f', attempt, now_ms + lease_ms))
  redis.call('ZREM', enqueued, shard)
  for _, key in ipairs({{job, attempts, leases}}) do redis.call('PEXPIRE', key, forget_ms) end
  local _, count = string.gsub(ids, ' ', '')
  return 'begun', count
end
local begun = {{now_ms}}
for i = 0, #KEYS / 6 - 1 do
  local job, attempts, leases, done, ended, enqueued = unpack(KEYS, 6 * i + 1, 6 * i + 6)
  local shard, attempt = unpack(ARGV, 2 * i + 3, 2 * i + 4)
  local status, count = begin(job, attempts, leases, done, ended, enqueued, shard, attempt)
  begun[#begun + 1] = status
  begun[#begun + 1] = count
  begun[#begun + 1] = redis.call('HEXISTS', job, 'counted')
end
return begun
"""
#: Hold the lease for longer, or take it where it was lost.
RENEW = f"""{_NOW}
local leases, shard, attempt, lease_ms = KEYS[1], unpack(ARGV)
local holder = holder_of(redis.call('HGET', leases, shard))
if holder and holder ~= attempt then return 0 end
redis.call('HSET', leases, shard, string.format('%s %.0f', attempt, now_ms + lease_ms))
return 1
"""
#: Take an attempt back.
FORGET_ATTEMPT = """
local ids = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local first, last = string.find(' ' .. ids, ' ' .. ARGV[2] .. ' ', 1, true)
if not first then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], string.sub(ids, 1, first - 1) .. string.sub(ids, last))
return redis.call('HINCRBY', KEYS[1], 'attempts', -1)
"""
#: Note that shards of a job have outcomes; count those that have one.
#: KEYS: done, failed, enqueued, attempts, errors, leases.
#: ARGV: how long to keep, then of each shard: its number; `dead`, or how many items failed.
MARK_DONE = """
local done, failed, enqueued = KEYS[1], KEYS[2], KEYS[3]
for i = 2, #ARGV, 2 do
  local shard, what = ARGV[i], ARGV[i + 1]
  redis.call('SETBIT', done, shard, 1)
  for k = 4, 6 do redis.call('HDEL', KEYS[k], shard) end
  redis.call('ZREM', enqueued, shard)
  if what ~= '0' then redis.call('HSET', failed, shard, what) end
end
redis.call('PEXPIRE', done, ARGV[1])
redis.call('PEXPIRE', failed, ARGV[1])
return redis.call('BITCOUNT', done)
"""
#: Keep the first end that is proposed for each job that is open and counted; say which that is.
#: KEYS: of each job: counters, ended, end. ARGV: how long to keep, then the proposed ends.
DECIDE_ENDS = """
local first = {}
for i = 1, #KEYS / 3 do
  local job, ended, key = unpack(KEYS, 3 * i - 2, 3 * i)
  if redis.call('EXISTS', ended) == 1 or redis.call('HEXISTS', job, 'counted') == 0 then
    first[i] = ''
  else
    redis.call('SET', key, ARGV[i + 1], 'NX', 'PX', ARGV[1])
    first[i] = redis.call('GET', key)
  end
end
return first
"""
#: Which jobs there is something to be done about: their places, and the shards that are lost, or
#: none where more must be asked.
#: KEYS: of each job: counters, done, leases, enqueued. ARGV: how long a message may wait, in ms.
TRIAGE = f"""{_NOW}
local oldest_ms = now_ms - ARGV[1]
local function lost_of(job, done, leases, enqueued)
  local shards, deadline_ms = unpack(redis.call('HMGET', job, 'shards', 'deadline_ms'))
  if not shards then return nil end
  if deadline_ms ~= '' and now_ms > tonumber(deadline_ms) then return nil end
  local lost, done_count = {{}}, 0
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
local found = {{}}
for i = 0, #KEYS / 4 - 1 do
  local lost = lost_of(unpack(KEYS, 4 * i + 1, 4 * i + 4))
  if not lost or #lost > 0 then found[#found + 1] = {{i, lost or {{}}}} end
end
return found
"""
