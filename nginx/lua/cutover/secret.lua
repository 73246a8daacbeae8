-- Secrets: those that are given to nginx as files, and random ones.

local FOLDER = "/run/secrets/nginx/"

local M = {}

-- The secret in a file, or nil and why there is none.
function M.read(name)
  local file, problem = io.open(FOLDER .. name, "rb")
  if not file then
    return nil, problem
  end
  local secret = file:read("*l")
  file:close()
  if not secret or secret == "" then
    return nil, FOLDER .. name .. " is empty"
  end
  return secret
end

-- 16 random octets.
function M.random()
  local source = assert(io.open("/dev/urandom", "rb"))
  local octets = source:read(16)
  source:close()
  return octets
end

return M
