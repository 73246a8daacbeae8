-- What each system answered and how long it took, by route, and what is on its
-- way. Counting is a few writes to this worker's own part of shared memory.

local base = require("resty.core.base")
local ffi = require("ffi")
local memory = require("cutover.memory")
local secret = require("cutover.secret")

local edge = ngx.shared.edge
local cast, floor, tonumber = ffi.cast, math.floor, tonumber
local get_request, now, start_time, var = base.get_request, ngx.now, ngx.req.start_time, ngx.var
local uintptr = ffi.typeof("uintptr_t")

local TIMED_ROUTES = 200 -- with more, times are kept for all routes together
-- Where each class stands in a cell: the status code's first digit less one.
-- "none" is for systems that gave no answer, "left" for clients that did not
-- wait for it.
local NONE, LEFT = 0, 5
local BACKENDS = { python = 0, go = 1, edge = 2 }
local SYSTEMS = { [0] = "python", "go", "edge" }
local OWN = memory.UNMATCHED * memory.BACKENDS + BACKENDS.edge

local region, cells, slots -- this worker's
local free, free_count = {}, 0 -- slots below region.high
local slot_of = {} -- request → slot
local again = {} -- slot → how often its request was sent, where more than once

local M = {}

-- A request is where nginx keeps it: nobody else's as long as it lasts.
local function request_key()
  return tonumber(cast(uintptr, get_request()))
end

-- What nginx says by itself where the system's answer has no header time: 502
-- and 504 are the system's fault. A client that leaves is sent nothing; the
-- status is then 499, or 400 when it left in the middle of its upload.
local function own_class(status)
  if status == 502 or status == 504 then
    return NONE
  end
  if status == 499 or var.bytes_sent == "0" then
    return LEFT
  end
end

local function class_of(status)
  local own = (status >= 400 or status < 100) and (var.upstream_header_time or "-") == "-" and own_class(status)
  if own then
    return own
  end
  local class = floor(status / 100) - 1
  if class < 1 then -- 101, a connection that became a WebSocket
    return 1
  end
  return class <= 4 and class or 4
end

-- Without a loop, which LuaJIT would not compile within what runs for each
-- request.
local function bucket_of(seconds)
  if seconds <= 0.1 then
    return seconds <= 0.005 and 0 or seconds <= 0.01 and 1 or seconds <= 0.025 and 2 or seconds <= 0.05 and 3 or 4
  end
  return seconds <= 0.25 and 5 or seconds <= 0.5 and 6 or seconds <= 1 and 7 or seconds <= 2.5 and 8
    or seconds <= 5 and 9 or seconds <= 10 and 10 or 11
end
M.bucket_of = bucket_of

local function take_slot()
  if free_count > 0 then
    local slot = free[free_count]
    free_count = free_count - 1
    return slot
  end
  local slot = region.high
  if slot < memory.SLOTS then
    slots[slot].cell = -1
    region.high = slot + 1
    return slot
  end
end

local function release(key, slot)
  slot_of[key] = nil
  again[slot] = nil
  slots[slot].cell = -1
  free_count = free_count + 1
  free[free_count] = slot
end

-- The slot of the request at an address, or nil. A slot that its request left
-- behind, if that can be, must not be taken for the next one's.
local function find_slot(key)
  local slot = slot_of[key]
  if slot and slots[slot].began ~= start_time() then
    release(key, slot)
    return nil
  end
  return slot
end

-- Called once when nginx starts; a reload keeps shared memory, and the epoch.
function M.configure()
  memory.configure()
  edge:safe_add("epoch", ngx.md5(secret.random()))
end

-- Called in each worker when it starts, and when it ends.
function M.begin()
  region = memory.claim()
  cells, slots = region.cells, region.slots
end

function M.finish()
  region.pid = 0
end

-- Gives the routes of a table the places where they are counted.
function M.attach(routing_table)
  local together = #routing_table.routes > TIMED_ROUTES
  local function place(route)
    route.cell = memory.index(route.name) * memory.BACKENDS
    route.timed = together and memory.ALL * memory.BACKENDS or route.cell
  end
  for _, route in ipairs(routing_table.routes) do
    place(route)
  end
  place(routing_table.unmatched)
  routing_table.together = together
end

-- Notes that a request is on its way to a system, or to the edge itself.
function M.depart(route, system)
  local slot = take_slot()
  if not slot then -- cannot be: there are more slots than connections
    return
  end
  local backend = BACKENDS[system]
  local entry = slots[slot]
  slot_of[request_key()] = slot
  entry.began = start_time()
  entry.timed = route.timed + backend
  entry.cell = route.cell + backend
end

-- The system that this request was sent to before, or nil, and how often it will
-- have been sent with this time. What is counted is the first time: it got no
-- answer.
function M.departed()
  local slot = find_slot(request_key())
  if slot then
    again[slot] = (again[slot] or 1) + 1
    return SYSTEMS[slots[slot].cell % memory.BACKENDS], again[slot]
  end
end

-- Counts a request that has ended.
function M.arrive()
  local key = request_key()
  local slot = find_slot(key)
  local cell, timed, class = OWN, OWN, nil
  if slot then
    local entry = slots[slot]
    cell, timed = entry.cell, entry.timed
    class = again[slot] and NONE
    release(key, slot)
  end

  local seconds = now() - start_time()
  seconds = seconds > 0 and seconds or 0 -- the clock may have been set back
  local times = cells[timed]
  times.seconds = times.seconds + seconds
  local bucket = bucket_of(seconds)
  times.buckets[bucket] = times.buckets[bucket] + 1
  -- Last: who reads tells by the classes that something changed.
  class = class or class_of(ngx.status)
  local counts = cells[cell]
  counts.classes[class] = counts.classes[class] + 1
end

return M
