-- Note that shards are about to be enqueued; return 0 if the job has ended, whose counters are gone:
-- whoever saw them in between takes all of its shards for lost. KEYS: open jobs, enqueued, ended.
-- ARGV: id, queue, how long to keep counters in ms, then the shards.
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local at = string.format('%.0f', queue_ms(ARGV[2]))
redis.call('SADD', KEYS[1], ARGV[1])
for i = 4, #ARGV do redis.call('ZADD', KEYS[2], at, ARGV[i]) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
