-- The syntax of JSON (RFC 8259). Functions take the text and a position, and return the position behind what they
-- read. A fault is raised as a table with its position.

local ESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
-- Envoy's transcoder reads no deeper. 32 levels of DynamoDB's nesting need 101.
local MAX_DEPTH = 128

local function fault(at, reason) error({ at = at, reason = reason }, 0) end

local function skip_space(text, at) return find(text, "[^ \t\r\n]", at) or #text + 1 end

-- Returns the value of the four hexadecimal digits behind `\u` at a position.
local function hex_at(text, at)
  local digits = text:match("^\\u(%x%x%x%x)", at)
  return digits and tonumber(digits, 16)
end

-- Returns the position behind the escape sequence at a position, and the text that it stands for.
local function escape_at(text, at)
  local plain = ESCAPES[sub(text, at + 1, at + 1)]
  if plain then return at + 2, plain end
  local code = hex_at(text, at)
  if not code then fault(at, "this escape sequence does not exist in JSON") end
  if code < 0xD800 or code > 0xDFFF then return at + 6, utf8_of(code) end
  local low = code < 0xDC00 and hex_at(text, at + 6)
  if not low or low < 0xDC00 or low > 0xDFFF then fault(at, "half of a surrogate pair is no character") end
  return at + 12, utf8_of(0x10000 + (code - 0xD800) * 1024 + low - 0xDC00)
end

-- Returns the position behind the string that begins at a position.
local function skip_string(text, at)
  local next_at = at + 1
  while true do
    local stop = find(text, '[%z\1-\31"\\]', next_at)
    local found = stop and byte(text, stop)
    if not found then fault(at, "this string does not end") end
    if found == 34 then return stop + 1 end
    if found ~= 92 then fault(stop, "control characters in strings are written as \\u00XX") end
    next_at = escape_at(text, stop)
  end
end

-- Returns the position behind a string, and its content.
local function read_string(text, at)
  local stop = skip_string(text, at)
  local raw = sub(text, at + 1, stop - 2)
  if not find(raw, "\\", 1, true) then return stop, raw end
  local parts, from = {}, 1
  while true do
    local backslash = find(raw, "\\", from, true)
    parts[#parts + 1] = sub(raw, from, backslash and backslash - 1)
    if not backslash then return stop, table.concat(parts) end
    from, parts[#parts + 1] = escape_at(raw, backslash)
  end
end

-- Returns the position behind the number at a position.
local function skip_number(text, at)
  local _, stop = find(text, "^-?%d+", at)
  if not stop then fault(at, "a JSON value is expected here") end
  if find(text, "^-?0%d", at) then fault(at, "a number does not begin with 0") end
  local _, fraction = find(text, "^%.%d+", stop + 1)
  stop = fraction or stop
  local _, exponent = find(text, "^[eE][+-]?%d+", stop + 1)
  return (exponent or stop) + 1
end

-- Calls `member(key, at)` for each member of the object at a position; it returns the position behind the value.
local function each_member(text, at, member)
  at = skip_space(text, at + 1)
  if byte(text, at) == 125 then return at + 1 end
  while true do
    if byte(text, at) ~= 34 then fault(at, "a name in double quotes is expected here") end
    local behind, key = read_string(text, at)
    behind = skip_space(text, behind)
    if byte(text, behind) ~= 58 then fault(behind, "a colon is expected here") end
    at = skip_space(text, member(key, skip_space(text, behind + 1)))
    local found = byte(text, at)
    if found == 125 then return at + 1 end
    if found ~= 44 then fault(at, "a comma or } is expected here") end
    at = skip_space(text, at + 1)
  end
end

-- Calls `element(index, at)` for each element of the array at a position.
local function each_element(text, at, element)
  at = skip_space(text, at + 1)
  if byte(text, at) == 93 then return at + 1 end
  local index = 0
  while true do
    at = skip_space(text, element(index, at))
    local found = byte(text, at)
    if found == 93 then return at + 1 end
    if found ~= 44 then fault(at, "a comma or ] is expected here") end
    at = skip_space(text, at + 1)
    index = index + 1
  end
end

-- Returns `true`, `false` or `null` if it stands at a position.
local function literal_at(text, at)
  local word = text:match("^%a+", at)
  if word == "true" or word == "false" or word == "null" then return word end
end

-- Returns the position behind a value of any type.
local function skip_value(text, at, depth)
  if depth > MAX_DEPTH then fault(at, "values are nested more than " .. MAX_DEPTH .. " levels deep") end
  local first = sub(text, at, at)
  if first == "{" then
    return each_member(text, at, function(_, inner) return skip_value(text, inner, depth + 1) end)
  end
  if first == "[" then
    return each_element(text, at, function(_, inner) return skip_value(text, inner, depth + 1) end)
  end
  if first == '"' then return skip_string(text, at) end
  local word = literal_at(text, at)
  return word and at + #word or skip_number(text, at)
end
