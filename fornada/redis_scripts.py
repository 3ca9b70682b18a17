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

#: Count an attempt and take the lease. Keyed by its id, so that a client's retry counts once.
BEGIN = f"""{_NOW}
local job, attempts, leases, done, ended, enqueued = unpack(KEYS)
local shard, attempt, lease_ms, forget_ms = unpack(ARGV)
if redis.call('EXISTS', ended) == 1 then return {{'ended', 0, now_ms}} end
if redis.call('GETBIT', done, shard) == 1 then return {{'done', 0, now_ms}} end
local holder = holder_of(redis.call('HGET', leases, shard))
if holder and holder ~= attempt then return {{'leased', 0, now_ms}} end
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
return {{'begun', count, now_ms}}
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
