-- Note that shards are about to be enqueued. KEYS: open jobs, enqueued.
-- ARGV: id, queue, how long to keep counters in ms, then the shards.
local at = string.format('%.0f', queue_ms(ARGV[2]))
redis.call('SADD', KEYS[1], ARGV[1])
for i = 4, #ARGV do redis.call('ZADD', KEYS[2], at, ARGV[i]) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
