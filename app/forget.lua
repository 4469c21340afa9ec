-- Forgets one user: every key, and every stream entry, delivered or not.
-- KEYS: history, ids, ids-old, stream
-- ARGV: group, ttl (seconds, 0 for none)
local stream, group, ttl = KEYS[4], ARGV[1], tonumber(ARGV[2])

for _, ids in ipairs({KEYS[2], KEYS[3]}) do
  for _, entry in ipairs(redis.call('HVALS', ids)) do
    redis.call('XACK', stream, group, entry)
    redis.call('XDEL', stream, entry)
  end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])

-- Ids that have expired can no longer name their entries, but those are older than the ttl.
if ttl > 0 then
  local now = redis.call('TIME')
  local oldest = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - ttl * 1000
  redis.call('XTRIM', stream, 'MINID', string.format('%.0f', oldest))
end
return 1
