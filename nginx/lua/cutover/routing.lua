-- The table in force. Its text is in shared memory under a version; each worker
-- keeps the table it made of it until the version moves on.

local routing_table = require("cutover.table")

local dict = ngx.shared.edge
local log, ERR, NOTICE, WARN = ngx.log, ngx.ERR, ngx.NOTICE, ngx.WARN

local STATE = "/var/lib/cutover"
local LOCK_LIFE = 5 -- seconds; only a worker that was killed leaves a lock behind

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
  local old = dict:get("version") or 0
  local ok, problem = stored(dict:safe_set("table:" .. old + 1, text))
  if not ok then
    return nil, problem
  end
  ok, problem = stored(dict:safe_set("version", old + 1))
  if not ok then
    return nil, problem
  end
  dict:delete("table:" .. old)
  return true
end

local function reload()
  for _ = 1, 3 do -- a version can move on between the two reads
    local version = dict:get("version")
    local text = dict:get("table:" .. version)
    if text then
      held_table = assert(routing_table.decode(text))
      held_version = version
      return held_table
    end
  end
  error("the shared table cannot be read")
end

local function exclusively(action)
  for _ = 1, 100 do
    local locked, problem = stored(dict:safe_add("lock", true, LOCK_LIFE))
    if locked then
      local ok, result, failure = pcall(action)
      dict:delete("lock")
      assert(ok, result)
      return result, failure
    end
    if problem ~= "exists" then
      return nil, problem
    end
    ngx.sleep(0.01)
  end
  return nil, "another table is being applied"
end

-- Called once when nginx starts. Shared memory outlives a reload, and its table
-- is newer than the saved one.
function M.restore()
  if not dict:get("version") then
    assert(publish(saved_text()))
  end
end

function M.current()
  if dict:get("version") == held_version then
    return held_table
  end
  return reload()
end

-- Puts a table in force. Returns true, or false when a newer one is, or nil
-- and what went wrong.
function M.apply(proposed)
  return exclusively(function()
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
