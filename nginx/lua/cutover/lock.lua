-- What only one worker may do at a time.

local dict = ngx.shared.edge

local LIFE = 5 -- seconds; only a worker that was killed leaves a lock behind
local TRIES, PAUSE = 1000, 0.001

local M = {}

-- Runs an action while no other worker runs one of that name, and returns what
-- it returns; or nil and why it was not run.
function M.exclusively(name, action)
  local key = "lock:" .. name
  for _ = 1, TRIES do
    local locked, problem = dict:safe_add(key, true, LIFE)
    if locked then
      local ok, result, failure = pcall(action)
      dict:delete(key)
      assert(ok, result)
      return result, failure
    end
    if problem == "no memory" then
      return nil, "the shared memory \"edge\" has no memory left"
    end
    if problem ~= "exists" then
      return nil, problem
    end
    ngx.sleep(PAUSE)
  end
  return nil, "another worker is doing the same"
end

return M
