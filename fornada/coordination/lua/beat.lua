-- Lead a queue, unless another beat came since the last one that the caller knows; return the last.
-- KEYS: leader. ARGV: holder, the last beat known or '', by how many ms to move the queue's clock,
-- how long to keep it in ms.
local last = redis.call('HGET', KEYS[1], 'beat')
local number = string.match(last or '', '^%S+ (%d+)$')
if number and last ~= ARGV[2] then return last end
local clock_ms = tonumber(redis.call('HGET', KEYS[1], 'clock_ms')) or 0
local beat = string.format('%s %.0f', ARGV[1], (number or 0) + 1)
redis.call(
  'HSET', KEYS[1], 'beat', beat, 'at_ms', string.format('%.0f', now_ms),
  'clock_ms', string.format('%.0f', clock_ms + ARGV[3])
)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return beat
