-- Who is asking: 32 hexadecimal digits that stay the same from one request to
-- the next, and the bucket that they put the visitor in.

local ffi = require("ffi")

local C = ffi.C
local crc32, md5, var = ngx.crc32_short, ngx.md5, ngx.var

local BUCKETS = 10000
local LENGTH = 32
local DIGITS = "0123456789abcdefABCDEF"

ffi.cdef("size_t strspn(const char *text, const char *accepted);")

local M = {}

-- Neither a loop nor a string pattern, which LuaJIT would leave to its
-- interpreter, and with them all that runs for each request.
local function valid(visitor)
  return #visitor == LENGTH and C.strspn(visitor, DIGITS) == LENGTH
end

local function credential()
  local header = var.http_authorization
  if header and header ~= "" then
    return header
  end
  local session = var.cookie_session_id
  if session and session ~= "" then
    return session
  end
end

-- The visitor, and whether the answer has to give it to the client.
function M.identify()
  local visitor = var.cookie_cutover_visitor
  if visitor and valid(visitor) then
    return visitor, false
  end
  local known = credential()
  if known then
    return md5(known), true
  end
  -- Random, and the same wherever in this request it is asked for.
  return var.request_id, true
end

function M.bucket(visitor)
  return crc32(visitor) % BUCKETS
end

return M
