-- The version of the table, counters and requests in flight, in memory that all
-- workers of one nginx share. Each worker counts in a region of its own, so that
-- counting takes no lock and nothing that was counted is lost with a worker;
-- whoever reads adds the regions up.

local ffi = require("ffi")

local C = ffi.C
local edge = ngx.shared.edge
local log, ERR = ngx.log, ngx.ERR

local REGIONS = 64 -- more than the workers that are left of several reloads
local NAMES = 16384 -- of routes, since nginx started
local ESRCH = 3 -- the error number of a process that there is not
local PROTECTION, SHARED_ANONYMOUS_NORESERVE = 3, 0x4021

ffi.cdef([[
typedef struct {
  double classes[6];
  double buckets[12];
  double seconds;
} cutover_cell;

typedef struct {
  double began;
  int32_t cell;   /* the request is counted here; -1 where there is none */
  int32_t timed;  /* its duration is */
} cutover_slot;

typedef struct {
  double pid;
  double claims;
  double high;  /* no slot from here on was used yet */
  cutover_slot slots[16384];
  cutover_cell cells[49152];
} cutover_region;

typedef struct {
  double table_version;
  double clock;
  double regions_used;
  double seen[16384];
  double changed[16384];
  cutover_region regions[64];
} cutover_memory;

void *mmap(void *address, size_t length, int protection, int flags, int file, intptr_t offset);
int kill(int pid, int signal);
char *strerror(int number);
]])

local M = {
  SLOTS = 16384, -- more than a worker has connections
  BACKENDS = 3, -- cells of a name
  UNMATCHED = 0, -- the index of the name "-"
  ALL = 1, -- of "*"
}

-- Called once when nginx starts, before there are workers. Shared memory
-- outlives a reload, at the same address.
function M.configure()
  local address = edge:get("memory")
  if not address then
    local size = ffi.sizeof("cutover_memory")
    local mapped = C.mmap(nil, size, PROTECTION, SHARED_ANONYMOUS_NORESERVE, -1, 0)
    address = tonumber(ffi.cast("intptr_t", mapped))
    if address == -1 then
      error(("there are no %d MB of address space for the counters: %s")
        :format(size / 2 ^ 20, ffi.string(C.strerror(ffi.errno()))), 0)
    end
    assert(edge:safe_set("memory", address))
    assert(edge:safe_set("names", M.ALL))
    for index, name in pairs({ [M.UNMATCHED] = "-", [M.ALL] = "*" }) do
      assert(edge:safe_set("name:" .. index, name))
      assert(edge:safe_set("index:" .. name, index))
    end
  end
  M.shared = ffi.cast("cutover_memory *", ffi.cast("intptr_t", address))
end

function M.alive(pid)
  return pid > 0 and (C.kill(pid, 0) == 0 or ffi.errno() ~= ESRCH)
end

-- Takes a region that no living worker has. What was counted there stays, what
-- was in flight there has ended with its worker.
function M.claim()
  local shared, pid = M.shared, ngx.worker.pid()
  for i = 0, REGIONS - 1 do
    local region = shared.regions[i]
    -- Process numbers come again: this worker cannot have had a region before.
    local is_free = region.pid == pid or not M.alive(region.pid)
    -- One worker alone can make the next claim.
    if is_free and edge:safe_add(("region:%d:%d"):format(i, region.claims), pid) then
      for slot = 0, region.high - 1 do
        region.slots[slot].cell = -1
      end
      region.high = 0
      region.pid = pid -- before the claim after this one can be made
      region.claims = region.claims + 1
      shared.regions_used = math.max(shared.regions_used, i + 1)
      return region
    end
  end
  log(ERR, "there are more than ", REGIONS, " workers: what this one serves is not counted")
  return ffi.new("cutover_region")
end

local function new_index(name)
  local index = edge:incr("names", 1)
  if index >= NAMES then
    edge:incr("names", -1)
    return nil, "there were more than " .. NAMES .. " names since nginx started"
  end
  local ok, problem = edge:safe_set("name:" .. index, name)
  if ok then
    ok, problem = edge:safe_add("index:" .. name, index)
  end
  -- Where another worker was faster, nothing is ever counted under this one.
  if not ok and problem ~= "exists" then
    return nil, problem
  end
  return edge:get("index:" .. name)
end

-- The index of a name; the same in all workers, and for ever.
function M.index(name)
  local index, problem = edge:get("index:" .. name), nil
  if not index then
    index, problem = new_index(name)
  end
  if not index then
    log(ERR, "the route ", name, " is counted with what no route matched: ", problem)
  end
  return index or M.UNMATCHED
end

-- How many indexes there are.
function M.names()
  return edge:get("names") + 1
end

-- The name of an index, or nil.
function M.name(index)
  return edge:get("name:" .. index)
end

return M
