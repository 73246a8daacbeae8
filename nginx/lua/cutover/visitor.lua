-- Who is asking: 32 hexadecimal digits that stay the same from one request to
-- the next, and the bucket that they, or the user id, put a request in.

local ffi = require("ffi")
local secret = require("cutover.secret")

local C = ffi.C
local byte = string.byte
local crc32, hmac_sha1, var = ngx.crc32_short, ngx.hmac_sha1, ngx.var

local BUCKETS = 10000
local LENGTH = 32
local DIGITS = "0123456789abcdefABCDEF"
local LONGEST_USER = 64
local USER = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
local ZERO, NINE = 48, 57 -- in ASCII

ffi.cdef("size_t strspn(const char *text, const char *accepted);")

-- Two digits for each octet.
local HEX = {}
for octet = 0, 255 do
  HEX[octet] = ("%02x"):format(octet)
end

local key -- for visitors that are made of credentials

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

-- The cookie is for everybody to see: without the key, nobody can tell by it
-- whether a guessed credential is right.
local function visitor_of(known)
  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p = hmac_sha1(key, known):byte(1, LENGTH / 2)
  return HEX[a] .. HEX[b] .. HEX[c] .. HEX[d] .. HEX[e] .. HEX[f] .. HEX[g] .. HEX[h]
    .. HEX[i] .. HEX[j] .. HEX[k] .. HEX[l] .. HEX[m] .. HEX[n] .. HEX[o] .. HEX[p]
end

-- Called when nginx starts or reloads. A random key outlives the reload.
function M.configure()
  local problem
  key, problem = secret.read("visitor_key")
  if not key then
    local dict = ngx.shared.edge
    dict:safe_add("visitor_key", secret.random())
    key = assert(dict:get("visitor_key"))
    ngx.log(ngx.WARN, "there is no visitor key (", problem, "), taking a random one: ",
      "visitors without cookies move when nginx starts anew")
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
    return visitor_of(known), true
  end
  -- Random, and the same wherever in this request it is asked for.
  return var.request_id, true
end

local function valid_user(user)
  return user and #user > 0 and #user <= LONGEST_USER and C.strspn(user, USER) == #user
end

-- The bucket of a route that is not split by visitor.
local function bucket_of_user(by, user, visitor)
  if by == "user_id" then
    return crc32(valid_user(user) and user or visitor) % BUCKETS
  end
  local last = user and #user > 0 and byte(user, #user)
  return last and last >= ZERO and last <= NINE and (last - ZERO) * BUCKETS / 10 or BUCKETS - 1
end

-- Where a request is placed: by the table's lists, or by the route's split.
function M.bucket(visitor, routing_table, by)
  if routing_table.placed then
    local users = routing_table.users
    local place = routing_table.visitors[visitor] or users and users[var.cookie_user_id or ""]
    if place then
      return place
    end
  end
  if by then
    return bucket_of_user(by, var.cookie_user_id, visitor)
  end
  return crc32(visitor) % BUCKETS
end

return M
