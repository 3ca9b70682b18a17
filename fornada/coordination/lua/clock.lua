-- Prepended to every script: the server's clock, and who holds a lease by it.
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function holder_of(lease)
  if not lease then return false end
  local attempt, until_ms = string.match(lease, '^(%S+) (%d+)$')
  if tonumber(until_ms) > now_ms then return attempt end
  return false
end
