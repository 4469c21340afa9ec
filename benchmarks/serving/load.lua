-- wrk's requests. Arguments after --: path, users, items, share of events, events a request, users a request,
-- whether how many items those ask for varies
-- A share of events: so many of the users who are about to ask have just done something. Counts go out as JSON.
local threads = {}
function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

function init(arguments)
  path, users, items = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
  share, events, several = tonumber(arguments[4]), tonumber(arguments[5]), tonumber(arguments[6])
  varied = arguments[7] == "1"
  math.randomseed(os.time() * 7 + number)
  asked, sent, faults, waiting = 0, 0, 0, nil
  headers = {["content-type"] = "application/json"}
end

local function event(user)
  return '{"user_id":"u' .. user .. '","item_id":"i' .. math.random(0, items - 1) .. '","kind":"view"}'
end

function request()
  if events > 0 then
    sent = sent + 1
    if events == 1 then
      return wrk.format("POST", path, headers, event(math.random(0, users - 1)))
    end
    local some = {}
    for at = 1, events do
      some[at] = event(math.random(0, users - 1))
    end
    return wrk.format("POST", path, headers, '{"events":[' .. table.concat(some, ",") .. "]}")
  end
  if several > 0 then
    asked = asked + 1
    local some = {}
    for at = 1, several do
      some[at] = '"u' .. math.random(0, users - 1) .. '"'
    end
    local k = varied and math.random(1, 20) or 10
    return wrk.format("POST", path, headers, '{"users":[' .. table.concat(some, ",") .. '],"k":' .. k .. "}")
  end
  local user = waiting or math.random(0, users - 1)
  if not waiting and share > 0 and math.random() < share then
    waiting, sent = user, sent + 1
    return wrk.format("POST", "/events", headers, event(user))
  end
  waiting, asked = nil, asked + 1
  return wrk.format("POST", path, headers, '{"user_id":"u' .. user .. '","k":10}')
end

function response(status)
  if status ~= 200 and status ~= 202 then
    faults = faults + 1
  end
end

function done(summary, latency, _)
  local asked, sent, faults = 0, 0, 0
  for _, thread in ipairs(threads) do
    asked, sent, faults = asked + thread:get("asked"), sent + thread:get("sent"), faults + thread:get("faults")
  end
  local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"asked":%d,"sent":%d,"faults":%d,"p50":%d,"p99":%d,"mean":%.1f}\n',
    summary.requests, summary.duration, asked, sent, faults + broken,
    latency:percentile(50), latency:percentile(99), latency.mean))
end
