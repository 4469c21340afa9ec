-- Takes over entries of one stream that another consumer was given and has not finished.
-- KEYS: stream
-- ARGV: group, consumer, idle (milliseconds), count
-- Returns entries as XRANGE does. Deleted entries are dropped from the pending list: Redis 7 does so, 6.2 does not.
local stream, group, consumer, idle, count = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local entries, cursor = {}, '0-0'

repeat
  local claimed = redis.call(
    'XAUTOCLAIM', stream, group, consumer, idle, cursor, 'COUNT', count - #entries, 'JUSTID')
  cursor = claimed[1]
  for _, id in ipairs(claimed[2]) do
    local found = redis.call('XRANGE', stream, id, id)
    if #found == 0 then
      redis.call('XACK', stream, group, id)
    else
      entries[#entries + 1] = found[1]
    end
  end
until cursor == '0-0' or #entries >= count

-- A worker takes a new name whenever it starts; the names of those that are gone would gather for ever.
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local about = {}
  for i = 1, #fields, 2 do
    about[fields[i]] = fields[i + 1]
  end
  if about.name ~= consumer and about.pending == 0 and about.idle > idle then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, about.name)
  end
end
return entries
