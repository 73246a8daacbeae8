-- The decision for each request: which system answers it, and at which address.

local balancer = require("ngx.balancer")
local bit = require("bit")
local counters = require("cutover.counters")
local routing = require("cutover.routing")
local secret = require("cutover.secret")
local upstreams = require("cutover.upstreams")
local visitors = require("cutover.visitor")

local byte = string.byte
local header, var = ngx.header, ngx.var
local set_current_peer = balancer.set_current_peer

local COOKIE = "cutover_visitor=%s; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"

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

local function target()
  return var.request_uri
end

-- A pin wins over the tester's wish: only one system has what is pinned.
local function decide(routing_table, route, visitor)
  if route and route.pin then
    return route.pin
  end
  if force_token and not routing_table.latched then
    local system = forced()
    if system then
      return system
    end
  end
  if not route then
    return routing_table.home
  end
  return visitors.bucket(visitor) < route.weight_bp and "go" or "python"
end

-- Response headers that are set here stay, also on nginx's own 502 and 504.
local function dispatch(routing_table, route)
  local visitor, is_new = visitors.identify()
  local system = decide(routing_table, route, visitor)

  header["X-Served-By"] = system
  if is_new then
    header["Set-Cookie"] = COOKIE:format(visitor)
  end
  -- What is counted is what was decided, also if the table changes meanwhile.
  ngx.ctx = counters.cell(route, system)
  M.send(system)
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

-- Decides for the request and sends it there.
function M.choose()
  local routing_table = routing.current()
  dispatch(routing_table, routing_table:match(target()))
end

-- Counts the request, if it went to a system at all.
function M.record()
  local cell = ngx.ctx
  if cell.keys then
    counters.count(cell, ngx.status)
  end
end

return M
