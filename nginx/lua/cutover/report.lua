-- The counters as JSON, for the control server.

local counters = require("cutover.counters")
local ffi = require("ffi")
local lock = require("cutover.lock")
local memory = require("cutover.memory")

local edge = ngx.shared.edge
local concat, format = table.concat, string.format

local BACKENDS = memory.BACKENDS
local SYSTEMS = { [0] = "python", "go", "edge" }
local EDGE = 2
local CLASSES, BUCKETS = 6, 12
local CHUNK = 100 -- routes to write before other requests have their turn

local names = {} -- index → name

local M = {}

local function name_of(index)
  local name = names[index]
  if not name then
    name = memory.name(index)
    names[index] = name
  end
  return name
end

local function sum_of(shared, regions, index)
  local sum, base = 0, index * BACKENDS
  for region = 0, regions - 1 do
    local cells = shared.regions[region].cells
    for cell = base, base + BACKENDS - 1 do
      local classes = cells[cell].classes
      sum = sum + classes[0] + classes[1] + classes[2] + classes[3] + classes[4] + classes[5]
    end
  end
  return sum
end

-- Where times are kept for all routes together, nothing but times is.
local function times_of(shared, regions, index)
  local sum, base = 0, index * BACKENDS
  for region = 0, regions - 1 do
    for cell = base, base + BACKENDS - 1 do
      for bucket = 0, BUCKETS - 1 do
        sum = sum + shared.regions[region].cells[cell].buckets[bucket]
      end
    end
  end
  return sum
end

-- Finds what has changed since somebody looked last. Who looks has the lock:
-- each change gets one number, and nobody is given it before the change.
local function look()
  local shared = memory.shared
  local regions, clock, total = shared.regions_used, shared.clock + 1, 0
  for index = 0, memory.names() - 1 do
    local sum = sum_of(shared, regions, index)
    total = total + sum
    if index == memory.ALL then
      sum = times_of(shared, regions, index)
    end
    if sum ~= shared.seen[index] then
      shared.seen[index] = sum
      shared.changed[index] = clock
      shared.clock = clock
    end
  end
  return { clock = shared.clock, total = total }
end

local function classes_text(cell)
  local counts, sum = { 0, 0, 0, 0, 0, 0 }, 0
  local shared = memory.shared
  for region = 0, shared.regions_used - 1 do
    local classes = shared.regions[region].cells[cell].classes
    for class = 1, CLASSES do
      counts[class] = counts[class] + classes[class - 1]
      sum = sum + classes[class - 1]
    end
  end
  return format('{"none":%d,"2xx":%d,"3xx":%d,"4xx":%d,"5xx":%d,"left":%d}',
    counts[1], counts[2], counts[3], counts[4], counts[5], counts[6]), sum
end

local function times_text(cell)
  local counts, seconds, sum = {}, 0, 0
  for bucket = 1, BUCKETS do
    counts[bucket] = 0
  end
  local shared = memory.shared
  for region = 0, shared.regions_used - 1 do
    local times = shared.regions[region].cells[cell]
    seconds = seconds + times.seconds
    for bucket = 1, BUCKETS do
      counts[bucket] = counts[bucket] + times.buckets[bucket - 1]
      sum = sum + times.buckets[bucket - 1]
    end
  end
  return format('{"buckets":[%s],"sum":%.3f}', concat(counts, ","), seconds), sum
end

-- The backends of a route: with zeros the two systems where the route has to
-- appear, without them what has something to say.
local function backends_text(index, text_of, zeros)
  local parts = {}
  for backend = 0, BACKENDS - 1 do
    local text, sum = text_of(index * BACKENDS + backend)
    if sum > 0 or zeros and backend ~= EDGE then
      parts[#parts + 1] = format('"%s":%s', SYSTEMS[backend], text)
    end
  end
  return parts[1] and format('"%s":{%s}', name_of(index), concat(parts, ","))
end

local function indexes(routing_table, since)
  local shared, listed, due = memory.shared, {}, {}
  if not since then
    listed[routing_table.unmatched.cell / BACKENDS] = true
    for _, route in ipairs(routing_table.routes) do
      listed[route.cell / BACKENDS] = true
    end
  end
  for index = 0, memory.names() - 1 do
    if (listed[index] or shared.changed[index] > (since or 0)) and name_of(index) then
      due[#due + 1] = index
    end
  end
  return due, listed
end

local function in_flight_text()
  local shared, time, cells = memory.shared, ngx.now(), {}
  for i = 0, shared.regions_used - 1 do
    local region = shared.regions[i]
    if memory.alive(region.pid) then
      for slot = 0, region.high - 1 do
        local entry = region.slots[slot]
        if entry.cell >= 0 then
          local age = math.max(time - entry.began, 0)
          local cell = cells[entry.timed]
          if not cell then
            cell = { count = 0, oldest = 0, ages = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } }
            cells[entry.timed] = cell
          end
          local bucket = counters.bucket_of(age) + 1
          cell.count = cell.count + 1
          cell.oldest = math.max(cell.oldest, age)
          cell.ages[bucket] = cell.ages[bucket] + 1
        end
      end
    end
  end
  local routes, parts = {}, {}
  for timed, cell in pairs(cells) do
    local index = math.floor(timed / BACKENDS)
    routes[index] = routes[index] or {}
    table.insert(routes[index], format('"%s":{"count":%d,"ages":[%s],"oldest":%.3f}',
      SYSTEMS[timed % BACKENDS], cell.count, concat(cell.ages, ","), cell.oldest))
  end
  for index, backends in pairs(routes) do
    parts[#parts + 1] = format('"%s":{%s}', name_of(index), concat(backends, ","))
  end
  return concat(parts, ",")
end

-- The counters that changed after a sequence number of an epoch, or all.
function M.text(routing_table, since, epoch)
  local seen, problem = lock.exclusively("reading", look)
  if not seen then
    return nil, problem
  end
  since = epoch == edge:get("epoch") and since and since <= seen.clock and since or nil

  ngx.update_time()
  local in_flight = in_flight_text()
  local due, listed = indexes(routing_table, since)
  local requests, durations = {}, {}
  for i, index in ipairs(due) do
    if index ~= memory.ALL then
      requests[#requests + 1] = backends_text(index, classes_text, true)
    end
    durations[#durations + 1] = backends_text(index, times_text, listed[index] and not routing_table.together)
    if i % CHUNK == 0 then
      ngx.sleep(0)
    end
  end
  return format('{"epoch":"%s","sequence":%d,"generation":%.0f,"total":%d,"requests":{%s},"durations":{%s},"in_flight":{%s}}',
    edge:get("epoch"), seen.clock, routing_table.generation, seen.total,
    concat(requests, ","), concat(durations, ","), in_flight)
end

return M
