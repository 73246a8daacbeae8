-- Where the two systems are. Containers change their addresses, so each worker
-- asks the engine's own DNS once a second; a system whose name is gone keeps
-- its last addresses.

local resolver = require("nginx.dns.resolver")

local dict = ngx.shared.edge
local log, ERR, NOTICE, WARN = ngx.log, ngx.ERR, ngx.NOTICE, ngx.WARN

local NAMESERVER = "127.0.0.11"
local INTERVAL = 1 -- second
local TIMEOUT = 900 -- milliseconds; shorter than the interval, so that look-ups never overlap

-- Nothing listens there: a system that never had an address refuses at once.
local NOWHERE = { host = "127.0.0.1", port = 1 }

-- What the edge answers itself, it answers here.
local EDGE = "unix:/tmp/edge.sock"

local systems = {
  python = { variable = "CUTOVER_PYTHON_ADDR", default = "flask:5000" },
  go = { variable = "CUTOVER_GO_ADDR", default = "goapp:8080" },
}

local M = {}

local function configure(system)
  local address = os.getenv(system.variable) or system.default
  local name, port = address:match("^([%w._-]+):(%d+)$")
  port = tonumber(port)
  if not port or port < 1 or port > 65535 then
    error(system.variable .. " must be NAME:PORT or an IPv4 address with a port from 1 to 65535, not \""
      .. address .. "\"", 0)
  end
  system.name, system.port = name, port
  system.hosts, system.turn = {}, 0
end

local function split(text)
  local words = {}
  for word in text:gmatch("%S+") do
    words[#words + 1] = word
  end
  return words
end

local function adopt(system, hosts)
  local text = table.concat(hosts, " ")
  if text == table.concat(system.hosts, " ") then
    return
  end
  system.hosts = hosts
  -- For workers that start later, which would know no address at first.
  local ok, problem = dict:safe_set("hosts:" .. system.name, text)
  if not ok then
    log(ERR, "the addresses of ", system.name, " cannot be shared: ", problem)
  end
  log(NOTICE, system.name, " is at ", text)
end

local function query(name)
  local dns, problem = resolver:new({ nameservers = { NAMESERVER }, retrans = 1, timeout = TIMEOUT })
  if not dns then
    return nil, problem
  end
  local answers
  answers, problem = dns:query(name, { qtype = dns.TYPE_A })
  if not answers then
    return nil, problem
  end
  local hosts = {}
  for _, answer in ipairs(answers) do
    hosts[#hosts + 1] = answer.address
  end
  if #hosts == 0 then
    return nil, answers.errstr or "no addresses"
  end
  table.sort(hosts)
  return hosts
end

local function look_up(premature, system)
  if premature then
    return
  end
  local hosts, problem = query(system.name)
  if hosts then
    system.missing = false
    adopt(system, hosts)
  elseif not system.missing then
    system.missing = true
    log(WARN, "the name ", system.name, " is gone (", problem, "), keeping its last addresses")
  end
end

-- Reads the names from the environment, before there are workers.
function M.configure()
  for _, system in pairs(systems) do
    configure(system)
  end
end

-- Begins to look the names up, in each worker.
function M.watch()
  math.randomseed(ngx.now() * 1000 + ngx.worker.pid()) -- the resolver's query ids
  for _, system in pairs(systems) do
    if system.name:match("^[%d.]+$") then
      system.hosts = { system.name }
    else
      system.hosts = split(dict:get("hosts:" .. system.name) or "")
      assert(ngx.timer.at(0, look_up, system))
      assert(ngx.timer.every(INTERVAL, look_up, system))
    end
  end
end

-- The host and port to ask next; several hosts take turns.
function M.pick(name)
  local system = systems[name]
  if not system then
    return EDGE
  end
  local hosts = system.hosts
  local count = #hosts
  if count == 1 then
    return hosts[1], system.port
  end
  if count == 0 then
    return NOWHERE.host, NOWHERE.port
  end
  system.turn = system.turn % count + 1
  return hosts[system.turn], system.port
end

function M.addresses(name)
  local system = systems[name]
  local addresses = {}
  for i, host in ipairs(system.hosts) do
    addresses[i] = host .. ":" .. system.port
  end
  return addresses
end

return M
