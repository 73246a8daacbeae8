-- How many requests each system answered, by route and status class. A worker
-- gathers them in tables of its own and adds them to shared memory every 50 ms,
-- which costs half as much as going there with every request.

local secret = require("cutover.secret")

local dict = ngx.shared.counters
local edge = ngx.shared.edge
local log, ERR, var = ngx.log, ngx.ERR, ngx.var
local floor = math.floor

local INTERVAL = 0.05 -- seconds
local UNMATCHED = "-"
local SYSTEMS = { "python", "go" }
-- Where each class stands in a cell: the status code's first digit. "none" is for
-- systems that gave no answer, "left" for clients that did not wait for it.
local NONE, LEFT = 1, 6
local CLASSES = { "none", "2xx", "3xx", "4xx", "5xx", "left" }

local cells = {} -- route name → system → cell
local touched = {} -- cells that have something to add

local M = {}

local function new_cell(name, system)
  local cell = { 0, 0, 0, 0, 0, 0, touched = false, keys = {} }
  for i, class in ipairs(CLASSES) do
    cell.keys[i] = name .. " " .. system .. " " .. class
  end
  return cell
end

local function flush_cell(cell)
  cell.touched = false
  for i = 1, #CLASSES do
    if cell[i] > 0 then
      local _, problem, evicted = dict:incr(cell.keys[i], cell[i], 0)
      if problem or evicted then
        log(ERR, "shared memory for counters is full: ", problem or "an older counter is lost")
      end
      cell[i] = 0
    end
  end
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
  local class = floor(status / 100)
  if class < 2 then -- 101, a connection that became a WebSocket
    return 2
  end
  return class <= 5 and class or 5
end

local function zeros()
  local counts = {}
  for _, class in ipairs(CLASSES) do
    counts[class] = 0
  end
  return counts
end

local function row(requests, name)
  local found = requests[name]
  if not found then
    found = {}
    for _, system in ipairs(SYSTEMS) do
      found[system] = zeros()
    end
    requests[name] = found
  end
  return found
end

-- Called once when nginx starts; a reload keeps shared memory, and the epoch.
function M.begin()
  edge:safe_add("epoch", ngx.md5(secret.random()))
end

-- Begins to add up, in each worker.
function M.gather()
  assert(ngx.timer.every(INTERVAL, M.flush))
end

-- The cell in which a request is counted when it ends.
function M.cell(route, system)
  local name = route and route.name or UNMATCHED
  local row_of_cells = cells[name]
  if not row_of_cells then
    row_of_cells = { python = new_cell(name, "python"), go = new_cell(name, "go") }
    cells[name] = row_of_cells
  end
  return row_of_cells[system]
end

-- Counts a request that has ended.
function M.count(cell, status)
  local class = class_of(status)
  cell[class] = cell[class] + 1
  if not cell.touched then
    cell.touched = true
    touched[#touched + 1] = cell
  end
end

function M.flush()
  for i = #touched, 1, -1 do
    flush_cell(touched[i])
    touched[i] = nil
  end
end

-- All counters, with zeros where nothing was counted yet.
function M.snapshot(routing_table)
  M.flush()
  local requests, total = {}, 0
  row(requests, UNMATCHED)
  for _, route in ipairs(routing_table.routes) do
    row(requests, route.name)
  end
  for _, key in ipairs(dict:get_keys(0)) do
    local name, system, class = key:match("^(%S+) (%S+) (%S+)$")
    local count = dict:get(key)
    row(requests, name)[system][class] = count
    total = total + count
  end
  return {
    epoch = edge:get("epoch"),
    generation = routing_table.generation,
    total = total,
    requests = requests,
  }
end

return M
