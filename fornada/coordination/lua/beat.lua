-- Lead a queue, unless another beat came since the last one that the caller knows; return the last,
-- and the lease in ms of whoever leads.
-- KEYS: leader, whether the lists of jobs are complete, then those lists. ARGV: queue, holder, the
-- last beat known or '', by how many ms to move the queue's clock, how long to keep it in ms, the
-- holder's lease in ms, then the type of each list.
for i = 3, #KEYS do
  local found = redis.call('TYPE', KEYS[i]).ok
  -- Put there by somebody else, and in the way of every submission.
  if found ~= 'none' and found ~= ARGV[i + 4] then redis.call('DEL', KEYS[i], KEYS[2]) end
end
local last = redis.call('HGET', KEYS[1], 'beat')
local number = string.match(last or '', '^%S+ (%d+)$')
-- What is no beat, or has a number to which nothing can be added, was put there by somebody else.
if number and #number > 15 then number = nil end
if number and last ~= ARGV[3] then return {last, redis.call('HGET', KEYS[1], 'lease_ms')} end
local beat = string.format('%s %.0f', ARGV[2], (number or 0) + 1)
redis.call(
  'HSET', KEYS[1], 'beat', beat, 'at_ms', string.format('%.0f', now_ms),
  'clock_ms', string.format('%.0f', queue_ms(ARGV[1]) + ARGV[4]),
  'lease_ms', ARGV[6]
)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {beat, ARGV[6]}
