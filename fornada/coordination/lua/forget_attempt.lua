-- Uncount an attempt. KEYS: counters, attempts. ARGV: shard, id of the attempt.
local ids = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local first, last = string.find(' ' .. ids, ' ' .. ARGV[2] .. ' ', 1, true)
if not first then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], string.sub(ids, 1, first - 1) .. string.sub(ids, last))
return redis.call('HINCRBY', KEYS[1], 'attempts', -1)
