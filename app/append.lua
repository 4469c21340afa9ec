-- Puts one user's events where their times belong: refuses repeated ids, trims, moves the version on, tells the stream.
-- KEYS: history, ids, ids-old, stream
-- ARGV: group, user, cap, stream cap, generation, ttl (seconds, 0 for none), 1 to tell the stream or 0;
--       then, an event: id, record, recommendation id or ''
-- Returns 1 (accepted) or 0 (repeated) for each event.
-- Reads come first, and XADD is the first write, or HSET where the stream is not told: Redis refuses a full or mistyped
-- store before anything has changed.
local history, ids, ids_old, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, user, cap, stream_cap = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local generation, ttl, told = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local NOWHERE = '0-0' -- a stream entry that never was, and that XACK and XDEL pass over
local HEAD, RECORD, TIME = 8, 20, 13 -- bytes: the version, one record, and where in a record its time begins

local stored = redis.call('GET', history) or ''
local flags, records = {}, {}

for i = 8, #ARGV, 3 do
  local id, record, recommendation = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('HEXISTS', ids, id) == 1 or redis.call('HEXISTS', ids_old, id) == 1 then
    flags[#flags + 1] = 0
  else
    local entry = NOWHERE
    if told and recommendation == '' then
      entry = redis.call('XADD', stream, 'MAXLEN', '~', stream_cap, '*', 'u', user, 'r', record)
    elseif told then
      entry = redis.call('XADD', stream, 'MAXLEN', '~', stream_cap, '*', 'u', user, 'r', record, 'i', recommendation)
    end
    redis.call('HSET', ids, id, entry)
    records[#records + 1] = record
    flags[#flags + 1] = 1
    if redis.call('HLEN', ids) >= generation then
      -- What the old generation names leaves the stream with it, so that forget.lua can find every entry of a user.
      for _, old in ipairs(redis.call('HVALS', ids_old)) do
        redis.call('XACK', stream, group, old)
        redis.call('XDEL', stream, old)
      end
      redis.call('RENAME', ids, ids_old)
    end
  end
end

if #records == 0 then
  return flags
end

-- Taken from the clock, so that a version never comes back after a DELETE; doubles are exact up to 2^53.
local now = redis.call('TIME')
local version = tonumber(now[1]) * 1000000 + tonumber(now[2])
if #stored >= HEAD then
  version = math.max(version, struct.unpack('<I8', stored) + 1)
end

local function time_of(packed, before)
  return (struct.unpack('<d', packed, before + TIME))
end

-- Only what is stored and later than the oldest newcomer has to move: mostly nothing.
local oldest = math.huge
for _, record in ipairs(records) do
  oldest = math.min(oldest, time_of(record, 0))
end
local body = string.sub(stored, HEAD + 1)
local stays = #body
while stays > 0 and time_of(body, stays - RECORD) > oldest do
  stays = stays - RECORD
end
local moving = {}
for before = stays, #body - RECORD, RECORD do
  moving[#moving + 1] = {time_of(body, before), #moving, string.sub(body, before + 1, before + RECORD)}
end
for _, record in ipairs(records) do
  moving[#moving + 1] = {time_of(record, 0), #moving, record}
end
-- Events of one moment keep the order they came in.
table.sort(moving, function(one, other)
  return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2])
end)
for place, entry in ipairs(moving) do
  moving[place] = entry[3]
end
body = string.sub(body, 1, stays) .. table.concat(moving)
if #body > cap * RECORD then
  body = string.sub(body, -cap * RECORD)
end
redis.call('SET', history, struct.pack('<I8', version) .. body)

if ttl > 0 then
  redis.call('EXPIRE', history, ttl)
  redis.call('EXPIRE', ids, ttl)
  redis.call('EXPIRE', ids_old, ttl)
end
return flags
