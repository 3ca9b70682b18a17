-- Keep the first end proposed for each job, and return it; '' for a job that is left out.
-- KEYS: of each job: counters, ended, end.
-- ARGV: how long to keep an end in ms, `1` to leave out jobs that ended or are not fully counted,
-- then the ends.
local first = {}
for i = 1, #KEYS / 3 do
  local job, ended, key = unpack(KEYS, 3 * i - 2, 3 * i)
  local left_out = redis.call('EXISTS', ended) == 1 or redis.call('HEXISTS', job, 'counted') == 0
  if ARGV[2] == '1' and left_out then
    first[i] = ''
  else
    first[i] = redis.pcall('GET', key)
    -- False if there is none; a table, the error, if anyone put another type there.
    if type(first[i]) ~= 'string' then
      first[i] = ARGV[i + 2]
      redis.call('SET', key, first[i], 'PX', ARGV[1])
    end
  end
end
return first
