-- List a new job as open and reset its counters, unless another producer just did.
-- KEYS: open jobs, ended, then all counters of the job, its hash first.
-- ARGV: id, how long another producer may take in ms, how long to keep counters in ms.
redis.call('SADD', KEYS[1], ARGV[1])
local since_ms = tonumber(redis.call('HGET', KEYS[3], 'counted') or 0)
if now_ms - since_ms < tonumber(ARGV[2]) then return end
local is_first = redis.call('EXISTS', KEYS[2], KEYS[3]) == 0
redis.call('DEL', unpack(KEYS, 2))
if is_first then
  redis.call('HSET', KEYS[3], 'counted', string.format('%.0f', now_ms))
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
