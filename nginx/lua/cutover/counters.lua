-- How many requests each system answered, by route and status class. A worker
-- gathers them in tables of its own and adds them to shared memory every 50 ms,
-- which costs half as much as going there with every request.

local dict = ngx.shared.counters
local edge = ngx.shared.edge
local log, ERR, var = ngx.log, ngx.ERR, ngx.var
local floor = math.floor

local INTERVAL = 0.05 -- seconds
local UNMATCHED = "-"
local SYSTEMS = { "python", "go" }
-- Where each class stands in a cell: the status code's first digit, and 1 for no answer.
local NONE = 1
local CLASSES = { "none", "2xx", "3xx", "4xx", "5xx" }

local cells = {} -- route name → system → cell
local touched = {} -- cells that have something to add

local M = {}

local function new_cell(name, system)
  local cell = { 0, 0, 0, 0, 0, touched = false, keys = {} }
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

-- An error is nginx's own (502, 504, 499 when the client left, 413 in the middle
-- of an upload) where the system's answer has no header time.
local function class_of(status)
  if status >= 400 and (var.upstream_header_time or "-") == "-" then
    return NONE
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
  local random = assert(io.open("/dev/urandom", "rb"))
  edge:safe_add("epoch", ngx.md5(random:read(16)))
  random:close()
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
