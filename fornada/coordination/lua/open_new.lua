-- List a new job as open and reset its counters, unless another producer just did.
-- KEYS: open jobs, newest jobs, ended, then all counters of the job, its hash first.
-- ARGV: id, how long another producer may take in ms, how long to keep counters in ms,
-- how many newest jobs to keep.
-- Set forward, the clock makes us forget more than we have to, which costs reads of the store; set
-- back, it keeps what an earlier submission of this id left, which began no shard.
redis.call('SADD', KEYS[1], ARGV[1])
local since_ms = tonumber(redis.call('HGET', KEYS[4], 'counted')) or 0
if now_ms - since_ms < tonumber(ARGV[2]) then return end
redis.call('ZADD', KEYS[2], now_ms, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -ARGV[4] - 1)
local is_first = redis.call('EXISTS', KEYS[3], KEYS[4]) == 0
redis.call('DEL', unpack(KEYS, 3))
if is_first then
  redis.call('HSET', KEYS[4], 'counted', string.format('%.0f', now_ms))
  redis.call('PEXPIRE', KEYS[4], ARGV[3])
end
