-- Writes items, all under one new version.
-- KEYS: data, vector, version, changed
-- ARGV: for each item: id, data, vector
-- Returns the version. From the clock, so that it never comes back, not even after the store was emptied.
local now = redis.call('TIME')
local previous = tonumber(redis.call('GET', KEYS[3]) or '0')
local version = string.format('%.0f', math.max(previous + 1, tonumber(now[1]) * 1000000 + tonumber(now[2])))

for i = 1, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
  redis.call('ZADD', KEYS[4], version, ARGV[i])
end
redis.call('SET', KEYS[3], version)
return version
