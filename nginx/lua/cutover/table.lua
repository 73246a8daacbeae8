-- The routing table as a value: made from its JSON text, checked as a whole,
-- never changed afterwards. internal/edge holds the same rules in Go.

local cjson = require("cjson.safe").new()
cjson.decode_invalid_numbers(false)

local char, find, format, sub = string.char, string.find, string.format, string.sub
local utf8_find = ngx.re.find
local gmatch, gsub, match = string.gmatch, string.gsub, string.match
local concat = table.concat

local TABLE_FIELDS = { generation = true, latched = true, home = true, routes = true, first = true, last = true }
local ROUTE_FIELDS = { name = true, prefix = true, weight_bp = true, by = true, pin = true, follows = true }
local TARGETS = { "weight_bp", "pin", "follows" }
local SYSTEMS = { python = true, go = true }
local SPLITS = { user_id = true, user_id_digit = true } -- without one, by visitor

local MAX_GENERATION = 2 ^ 53 - 1 -- beyond it a Lua number skips some
local MAX_NAME = 64
local MEMORY, LONGEST_REMEMBERED = 2000, 256 -- targets, octets
local MAX_ENTRIES = 10000 -- in first and last together
local MAX_USER = 64
local FIRST_BUCKET, LAST_BUCKET = 0, 9999
local UNMATCHED = "-"
local REPLACEMENT = "\239\191\189" -- what Go reads where an escape stands for no character

local Table = {}
Table.__index = Table

local function whole(value, highest)
  return type(value) == "number" and value % 1 == 0 and value >= 0 and value <= highest
end

-- JSON outside of its strings.
local function skeleton(text)
  return (gsub(gsub(text, "\\.", ""), '"[^"]*"', '""'))
end

-- What can be told of the text alone. cjson takes 5.0 and 1e3 for whole
-- numbers, an empty object for an empty list, and passes on any octets.
local function check_text(text)
  local _, _, problem = utf8_find(text, "^", "u")
  if problem then
    return nil, "the table is not UTF-8"
  end
  local bones = skeleton(text)
  if find(bones, "%d[.eE]") or find(bones, "-", 1, true) then
    return nil, "a number is not written in digits alone"
  end
  if find(bones, "{%s*}") then
    return nil, "an empty object stands where something else has to"
  end
  return true
end

local function only(value, fields)
  for field in pairs(value) do
    if not fields[field] then
      return nil, format("unknown field %q", tostring(field))
    end
  end
  return true
end

local function is_list(value)
  if type(value) ~= "table" then
    return false
  end
  local count = 0
  for _ in pairs(value) do
    count = count + 1
  end
  return count == #value
end

local function check_prefix(prefix)
  if type(prefix) ~= "string" or sub(prefix, 1, 1) ~= "/" then
    return nil, "a prefix begins with a slash"
  end
  if find(prefix, '[%z\1-\32\127"%%?#\\]') or find(prefix, REPLACEMENT, 1, true) then
    return nil, 'a prefix holds no white space, ", %, ?, # or backslash'
  end
  if find(prefix, "//", 1, true) then
    return nil, "a prefix has no empty segments"
  end
  for segment in gmatch(prefix, "[^/]+") do
    if segment == "." or segment == ".." then
      return nil, "a prefix has no dot segments"
    end
  end
  return true
end

local function check_route(route, latched)
  if type(route) ~= "table" then
    return nil, "it is not an object"
  end
  local ok, problem = only(route, ROUTE_FIELDS)
  if not ok then
    return nil, problem
  end
  local name = route.name
  -- "-" is where the counters keep what no route matched.
  if type(name) ~= "string" or not match(name, "^[%w._-]+$") or name == UNMATCHED or #name > MAX_NAME then
    return nil, format("a name is 1 to %d letters, digits, dots, dashes and underscores", MAX_NAME)
  end
  ok, problem = check_prefix(route.prefix)
  if not ok then
    return nil, problem
  end
  local targets = 0
  for _, field in ipairs(TARGETS) do
    targets = targets + (route[field] ~= nil and 1 or 0)
  end
  if targets ~= 1 then
    return nil, "a route has either a weight_bp, a pin or follows"
  end
  if route.pin ~= nil and not SYSTEMS[route.pin] then
    return nil, "a pin is python or go"
  end
  if route.weight_bp ~= nil and not whole(route.weight_bp, 10000) then
    return nil, "a weight_bp is a whole number from 0 to 10000"
  end
  if route.by ~= nil and not route.weight_bp then
    return nil, "only a route with a weight_bp has a by"
  end
  if route.by ~= nil and not SPLITS[route.by] then
    return nil, "a by is user_id or user_id_digit"
  end
  if latched and route.weight_bp and route.weight_bp > 0 then
    return nil, "a latched table has no weight above 0"
  end
  return true
end

local function new_node()
  return { children = {} }
end

-- Adds a route to the tree of path segments; false when its place is taken.
local function plant(root, route)
  local node = root
  for segment in gmatch(route.prefix, "[^/]+") do
    local child = node.children[segment]
    if not child then
      child = new_node()
      node.children[segment] = child
    end
    node = child
  end
  if node.route then
    return false
  end
  node.route = route
  return true
end

local function quote(text)
  return (gsub(cjson.encode(text), "\\/", "/"))
end

local function route_text(route)
  local target
  if route.follows then
    target = format('"follows":%s', quote(route.follows))
  elseif route.pin then
    target = format('"pin":"%s"', route.pin)
  else
    target = format('"weight_bp":%d', route.weight_bp)
    if route.by then
      target = format('%s,"by":"%s"', target, route.by)
    end
  end
  return format('{"name":%s,"prefix":%s,%s}', quote(route.name), quote(route.prefix), target)
end

-- What a table may leave out is left out where it is empty.
local function list_text(name, entries)
  if not entries or #entries == 0 then
    return ""
  end
  return format(',"%s":["%s"]', name, concat(entries, '","'))
end

-- The same table always has the same text: that is how two are compared.
local function table_text(value)
  local routes = {}
  for i, route in ipairs(value.routes) do
    routes[i] = route_text(route)
  end
  return format('{"generation":%.0f,"latched":%s,"home":"%s","routes":[%s]%s%s}',
    value.generation, tostring(value.latched), value.home, concat(routes, ","),
    list_text("first", value.first), list_text("last", value.last))
end

-- Adds the visitors of a list, who share a bucket, to those with a place.
local function place(places, entries, bucket)
  if entries == nil then
    return true
  end
  if not is_list(entries) then
    return nil, "first and last are lists"
  end
  for _, entry in ipairs(entries) do
    if type(entry) ~= "string" then
      return nil, "an entry of first or last is not text"
    end
    local visitor = match(entry, "^visitor:(%x+)$")
    local user = match(entry, "^user:([%w_-]+)$")
    local of, who
    if visitor and #visitor == 32 then
      of, who = places.visitors, visitor
    elseif user and #user <= MAX_USER then
      of, who = places.users, user
    else
      return nil, format('%q is neither "visitor:" with 32 hexadecimal digits nor "user:" with 1 to %d letters, '
        .. 'digits, dashes and underscores', entry, MAX_USER)
    end
    if of[who] then
      return nil, format("first and last name %q twice", entry)
    end
    of[who] = bucket
    places.count = places.count + 1
  end
  if places.count > MAX_ENTRIES then
    return nil, format("first and last have more than %d entries", MAX_ENTRIES)
  end
  return true
end

local function places_of(value)
  local places = { visitors = {}, users = {}, count = 0 }
  local ok, problem = place(places, value.first, FIRST_BUCKET)
  if ok then
    ok, problem = place(places, value.last, LAST_BUCKET)
  end
  if not ok then
    return nil, problem
  end
  return places
end

local function follow(routes, names)
  for _, route in ipairs(routes) do
    if route.follows ~= nil then
      local followed = names[route.follows]
      if not followed or not followed.weight_bp then
        return nil, format("route %q follows %s, which is no route with a weight", route.name, tostring(route.follows))
      end
      route.followed = followed
    end
  end
  return true
end

local function check_table(value)
  if type(value) ~= "table" then
    return nil, "the table is not an object"
  end
  local ok, problem = only(value, TABLE_FIELDS)
  if not ok then
    return nil, problem
  end
  if not whole(value.generation, MAX_GENERATION) then
    return nil, "the generation is not a whole number"
  end
  if type(value.latched) ~= "boolean" then
    return nil, "latched is neither true nor false"
  end
  if not SYSTEMS[value.home] then
    return nil, "the home is neither python nor go"
  end
  if not is_list(value.routes) then
    return nil, "the routes are not a list"
  end
  return true
end

local function decode_escape(digits)
  return char(tonumber(digits, 16))
end

local function decode_escapes(path)
  return (gsub(path, "%%(%x%x)", decode_escape))
end

-- The path of a request target as python reads it: without query and fragment,
-- percent-decoded (an encoded slash too), and with its dot segments, which it
-- takes for names. Go splits a path before it decodes it and redirects away from
-- dot segments; the rule has to be one for both, and a path that they read
-- differently belongs to the route that python finds.
local function path_of(target)
  local stop = find(target, "?", 1, true)
  local path = stop and sub(target, 1, stop - 1) or target
  stop = find(path, "#", 1, true)
  if stop then
    path = sub(path, 1, stop - 1)
  end
  return find(path, "%", 1, true) and decode_escapes(path) or path
end

local M = {}

-- Makes a table of its JSON text, or returns nil and what is wrong with it.
function M.decode(text)
  local value, problem = cjson.decode(text)
  if value == nil then
    return nil, "the table is not JSON: " .. problem
  end
  local ok
  ok, problem = check_table(value)
  if ok then
    ok, problem = check_text(text)
  end
  if not ok then
    return nil, problem
  end

  local root, names = new_node(), {}
  for i, route in ipairs(value.routes) do
    ok, problem = check_route(route, value.latched)
    if not ok then
      return nil, format("route %d: %s", i, problem)
    end
    if names[route.name] then
      return nil, format("two routes are named %q", route.name)
    end
    names[route.name] = route
    if not plant(root, route) then
      return nil, format("two routes have the prefix %q", route.prefix)
    end
  end

  ok, problem = follow(value.routes, names)
  if not ok then
    return nil, problem
  end
  local places
  places, problem = places_of(value)
  if not places then
    return nil, problem
  end

  return setmetatable({
    generation = value.generation,
    latched = value.latched,
    home = value.home,
    routes = value.routes,
    text = table_text(value),
    root = root,
    unmatched = { name = UNMATCHED, home = value.home },
    placed = places.count > 0,
    visitors = places.visitors,
    users = next(places.users) and places.users, -- the cookie is read only where it matters
    memory = {}, -- target → route
    remembered = 0,
  }, Table)
end

-- The text of the table that sends everything home.
function M.text_of_home(home)
  return table_text({ generation = 0, latched = false, home = home, routes = {} })
end

-- The next step of a walk: the node under a path's next segment, and where the
-- one behind it begins; nil at the end of the path or of the tree. Empty segments
-- do not count: python drops or merges them.
local function step(node, path, from)
  local slash = find(path, "/", from, true)
  if slash == from then
    return node, from + 1
  end
  local last = slash and slash - 1 or #path
  if last < from then
    return nil
  end
  return node.children[sub(path, from, last)], last + 2
end

local function walk(node, path, from, route)
  while true do
    node, from = step(node, path, from)
    if not node then
      return route
    end
    route = node.route or route
  end
end

-- Keeps what was found for a target: most requests ask for the same few.
local function remember(self, target, route)
  if self.remembered == MEMORY then
    self.memory, self.remembered = {}, 0
  end
  if #target <= LONGEST_REMEMBERED then
    self.memory[target] = route
    self.remembered = self.remembered + 1
  end
  return route
end

-- The route with the longest prefix that a request target has, or the one that
-- stands for none. The walk ends where no prefix goes on, so that neither the
-- number of routes nor the length of the path makes it slow.
function Table:match(target)
  local root = self.root
  return self.memory[target]
    or remember(self, target, walk(root, path_of(target), 1, root.route or self.unmatched))
end

return M
