-- Appended to every script, which is the function `run`. Anyone may have put a value of another type
-- under a name of ours: it is removed, as if Redis had lost what was there, and the step taken again.
local TYPES = {
  job = 'hash', attempts = 'hash', errors = 'hash', leases = 'hash', enqueued = 'zset',
  done = 'string', failed = 'hash', ['end'] = 'string', ['held-up'] = 'hash', ended = 'string',
  ['end-lease'] = 'string', leader = 'hash', ['open-jobs'] = 'set', ['newest-jobs'] = 'zset',
}
local went_well, answer = pcall(run)
if went_well then return answer end
local why = type(answer) == 'table' and answer.err or answer
if not string.find(why, 'WRONGTYPE', 1, true) then error(answer) end
for _, key in ipairs(KEYS) do
  local wanted, found = TYPES[string.match(key, '^fornada:([%l-]+)')], redis.call('TYPE', key).ok
  if wanted and found ~= wanted and found ~= 'none' then redis.call('DEL', key) end
end
return run()
