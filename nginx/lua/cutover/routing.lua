-- The table in force. Its text is in the shared dictionary under a version; each
-- worker keeps the table it made of it until the version moves on.

local counters = require("cutover.counters")
local lock = require("cutover.lock")
local memory = require("cutover.memory")
local routing_table = require("cutover.table")

local dict = ngx.shared.edge
local log, ERR, NOTICE, WARN = ngx.log, ngx.ERR, ngx.NOTICE, ngx.WARN

local STATE = "/var/lib/cutover"

local held_version, held_table -- this worker's

local M = {}

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

local function home()
  local configured = os.getenv("CUTOVER_HOME") or "python"
  if configured ~= "python" and configured ~= "go" then
    error("CUTOVER_HOME must be python or go, not \"" .. configured .. "\"", 0)
  end
  local recorded = read_file(STATE .. "/home")
  if not recorded then
    return configured
  end
  local system = recorded:match("^%s*(%a+)%s*$")
  if system == "python" or system == "go" then
    return system
  end
  log(ERR, "the file home holds neither python nor go, taking CUTOVER_HOME instead")
  return configured
end

local function saved_text()
  local fallback = home()
  local text = read_file(STATE .. "/table.json")
  if not text then
    log(WARN, "there is no saved table: everything goes to ", fallback)
    return routing_table.text_of_home(fallback)
  end
  local saved, problem = routing_table.decode(text)
  if not saved then
    log(ERR, "the saved table is broken (", problem, "): everything goes to ", fallback)
    return routing_table.text_of_home(fallback)
  end
  log(NOTICE, "took over the saved table, generation ", saved.generation)
  return saved.text
end

-- Storing must never push another key out, least of all the table in force.
local function stored(ok, problem)
  if not ok and problem == "no memory" then
    problem = "the shared memory \"edge\" has no memory left"
  end
  return ok, problem
end

-- The new text stands complete under its own key before the version points to
-- it, so that there is no moment without a whole table.
local function publish(text)
  local shared = memory.shared
  local old = shared.table_version
  local ok, problem = stored(dict:safe_set("table:" .. old + 1, text))
  if not ok then
    return nil, problem
  end
  shared.table_version = old + 1
  dict:delete("table:" .. old)
  return true
end

local function reload()
  for _ = 1, 3 do -- a version can move on between the two reads
    local version = memory.shared.table_version
    local text = dict:get("table:" .. version)
    if text then
      held_table = assert(routing_table.decode(text))
      counters.attach(held_table)
      held_version = version
      return held_table
    end
  end
  error("the shared table cannot be read")
end

-- Called once when nginx starts. Shared memory outlives a reload, and its table
-- is newer than the saved one.
function M.restore()
  if memory.shared.table_version == 0 then
    assert(publish(saved_text()))
  end
end

function M.current()
  if memory.shared.table_version == held_version then
    return held_table
  end
  return reload()
end

-- Puts a table in force. Returns true, or false when a newer one is, or nil
-- and what went wrong.
function M.apply(proposed)
  return lock.exclusively("table", function()
    local current = M.current()
    if proposed.text == current.text then
      return true
    end
    if proposed.generation <= current.generation then
      return false
    end
    local ok, problem = publish(proposed.text)
    if ok then
      log(NOTICE, "applied the table of generation ", proposed.generation)
    end
    return ok, problem
  end)
end

return M
