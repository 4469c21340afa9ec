-- Gives each new item id the next handle, for good.
-- KEYS: handle (HASH id -> handle), ids (LIST, the id at its handle's place), version
-- ARGV: ids
for _, id in ipairs(ARGV) do
  if redis.call('HEXISTS', KEYS[1], id) == 0 then
    local handle = redis.call('RPUSH', KEYS[2], id) - 1
    redis.call('HSET', KEYS[1], id, handle)
  end
end

-- A version from the start, so that a store that was emptied shows.
local now = redis.call('TIME')
redis.call('SET', KEYS[3], string.format('%.0f', tonumber(now[1]) * 1000000 + tonumber(now[2])), 'NX')
return redis.call('LLEN', KEYS[2])
