-- The decision for each request: which system answers it, and at which address.

local balancer = require("ngx.balancer")
local bit = require("bit")
local counters = require("cutover.counters")
local routing = require("cutover.routing")
local secret = require("cutover.secret")
local upstreams = require("cutover.upstreams")
local visitors = require("cutover.visitor")

local byte, match = string.byte, string.match
local header, var = ngx.header, ngx.var
local set_current_peer = balancer.set_current_peer

local COOKIE = "cutover_visitor=%s; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
local SECURE_COOKIE = COOKIE .. "; Secure"

-- Where a kept-alive connection turns out dead, nginx sends a request again: POST
-- and PATCH only if nothing was sent before, but PUT and DELETE in any case, and
-- as often as it has such connections.
local REPEATABLE = { GET = true, HEAD = true, OPTIONS = true, POST = true, PATCH = true }
local MOST_TIMES = 2
local NO_PEER = -3 -- NGX_BUSY: the answer is 502

local EVERYBODY = 10000 -- basis points

local force_token -- nil: nobody can force a system

local M = {}

-- Takes the same time wherever the first difference is.
local function equal(a, b)
  if #a ~= #b then
    return false
  end
  local difference = 0
  for i = 1, #a do
    difference = bit.bor(difference, bit.bxor(byte(a, i), byte(b, i)))
  end
  return difference == 0
end

local function forced()
  local system = var.http_x_cutover_force
  if system ~= "go" and system ~= "python" then
    return nil
  end
  local token = var.http_x_cutover_token
  return token and equal(token, force_token) and system or nil
end

-- A pin wins over the tester's wish: only one system has what is pinned.
local function decide(routing_table, route, visitor)
  if route.pin then
    return route.pin
  end
  if force_token and not routing_table.latched then
    local system = forced()
    if system then
      return system
    end
  end
  if route.home then
    return route.home
  end
  local weight = route.weight_bp
  if weight == 0 then
    return "python"
  end
  return (weight == EVERYBODY or visitors.bucket(visitor, routing_table, route.by) < weight) and "go" or "python"
end

-- The route of the page that a request comes from.
local function page(routing_table, follower)
  local url = var.http_hx_current_url
  local target = url and (match(url, "^/.*") or match(url, "^[hH][tT][tT][pP][sS]?://[^/?#]+(.*)"))
  if not target then
    return follower.followed
  end
  local route = routing_table:match(target)
  return route.followed or route
end

-- Called when nginx starts or reloads.
function M.configure()
  local problem
  force_token, problem = secret.read("force_token")
  if not force_token then
    ngx.log(ngx.NOTICE, "there is no force token (", problem, "): nobody can force a system")
  end
end

-- Sends the request to a system.
function M.send(system)
  assert(set_current_peer(upstreams.pick(system)))
end

-- Decides for the request and sends it there. Response headers that are set
-- here stay, also on nginx's own 502 and 504.
function M.choose()
  local before, times = counters.departed()
  if before then
    if times > MOST_TIMES or not REPEATABLE[var.request_method] then
      return ngx.exit(NO_PEER)
    end
    return M.send(before)
  end

  local routing_table = routing.current()
  local route = routing_table:match(var.request_uri)
  local visitor, is_new = visitors.identify()
  local system
  if route.followed then
    -- Python has no such fragments: the page has to be loaded anew.
    system = decide(routing_table, page(routing_table, route), visitor)
    system = system == "go" and system or "edge"
  else
    system = decide(routing_table, route, visitor)
  end

  if system ~= "edge" then
    header["X-Served-By"] = system
  end
  if is_new then
    header["Set-Cookie"] = (var.client_proto == "https" and SECURE_COOKIE or COOKIE):format(visitor)
  end
  -- What is counted is what was decided, also if the table changes meanwhile.
  counters.depart(route, system)
  M.send(system)
end

return M
