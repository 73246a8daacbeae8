-- The control server: HTTP on a unix socket, for the guard.

local cjson = require("cjson.safe")
local report = require("cutover.report")
local routing = require("cutover.routing")
local routing_table = require("cutover.table")
local upstreams = require("cutover.upstreams")

local M = {}

local function answer(status, text)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Content-Length"] = #text
  ngx.print(text)
end

local function refuse(status, message)
  answer(status, cjson.encode({ error = message }))
end

local function get_table()
  answer(200, routing.current().text)
end

local function put_table()
  ngx.req.read_body()
  local proposed, problem = routing_table.decode(ngx.req.get_body_data() or "")
  if not proposed then
    return refuse(422, problem)
  end
  local applied
  applied, problem = routing.apply(proposed)
  if applied == nil then
    return refuse(503, "the table cannot be applied: " .. problem)
  end
  if not applied then
    return answer(409, string.format('{"error":"a newer table is in force","generation":%.0f}',
      routing.current().generation))
  end
  answer(200, string.format('{"generation":%.0f}', proposed.generation))
end

local function get_counters()
  local text, problem = report.text(routing.current(), tonumber(ngx.var.arg_since), ngx.var.arg_epoch)
  if not text then
    return refuse(503, "the counters cannot be read: " .. problem)
  end
  answer(200, text)
end

local function get_health()
  answer(200, '{"status":"ok"}')
end

local function list(words)
  local quoted = {}
  for i, word in ipairs(words) do
    quoted[i] = cjson.encode(word)
  end
  return "[" .. table.concat(quoted, ",") .. "]"
end

local function get_upstreams()
  answer(200, string.format('{"python":%s,"go":%s}',
    list(upstreams.addresses("python")), list(upstreams.addresses("go"))))
end

local handlers = {
  ["/table"] = { GET = get_table, PUT = put_table, allow = "GET, PUT" },
  ["/counters"] = { GET = get_counters, allow = "GET" },
  ["/health"] = { GET = get_health, allow = "GET" },
  ["/upstreams"] = { GET = get_upstreams, allow = "GET" },
}

function M.serve()
  local methods = handlers[ngx.var.uri]
  if not methods then
    return refuse(404, "there is nothing here")
  end
  local handler = methods[ngx.req.get_method()]
  if not handler then
    ngx.header["Allow"] = methods.allow
    return refuse(405, "the method is not allowed here")
  end
  handler()
end

return M
