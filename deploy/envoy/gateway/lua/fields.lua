-- The values of fields, against the types of the contract. `MESSAGES` and `ENUMS` are generated from it.

local MAX_VIOLATIONS = 20
-- From 2^53 on, callers whose numbers are floats may have rounded: 2^53 itself can stand for 2^53 + 1.
local MAX_SAFE, MAX_INT64, MIN_INT64 = "9007199254740991", "9223372036854775807", "9223372036854775808"
local MAX_INT32, MIN_INT32 = "2147483647", "2147483648"
local MAX_SECONDS = "315576000000"
local MONTH_DAYS = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
local HINTS = {
  AttributeValue = 'an object with the type and the value, such as {"s": "text"} or {"n": "12"}',
}

-- A body while it is checked. `trail` has the parts of the path of the present field, from the outermost.
local function new_reading(text, bound)
  return { text = text, bound = bound, trail = {}, violations = {}, more = 0 }
end

local function shown(value) return value == "" and "empty" or shortened(value, 60) end

local function violate(reading, description)
  if #reading.violations == MAX_VIOLATIONS then
    reading.more = reading.more + 1
  else
    local field = table.concat(reading.trail):gsub("^%.", "")
    reading.violations[#reading.violations + 1] = { field = field, description = description }
  end
end

-- Compares whole numbers without sign as text: Lua's own are floats.
local function exceeds(digits, bound)
  digits = digits:gsub("^0+", "")
  return #digits > #bound or (#digits == #bound and digits > bound)
end

-- Returns the problem of a whole number, or nil. `is_text` says that it was in quotes.
local function integer_problem(literal, kind, is_text)
  local sign, digits = literal:match("^(-?)(%d+)$")
  if not digits then
    local value = not is_text and tonumber(literal)
    if not value or value ~= math.floor(value) then return "must be a whole number, is " .. shown(literal) end
    sign, digits = value < 0 and "-" or "", format("%.0f", math.abs(value))
  end
  if kind == "int32" and exceeds(digits, sign == "-" and MIN_INT32 or MAX_INT32) then
    return "is outside of 32 bits: " .. shown(literal)
  end
  if not is_text and exceeds(digits, MAX_SAFE) then
    return "is not below 2^53, where JSON numbers are rounded: write it in quotes"
  end
  if exceeds(digits, sign == "-" and MIN_INT64 or MAX_INT64) then
    return "is outside of 64 bits: " .. shown(literal)
  end
end

local function double_problem(literal, is_text)
  if is_text and (literal == "NaN" or literal == "Infinity" or literal == "-Infinity") then return nil end
  local value = find(literal, "^-?%d") and not find(literal, "[xX]") and tonumber(literal)
  if not value then return "must be a number, is " .. shown(literal) end
  if value == math.huge or value == -math.huge then return "is too large: " .. shown(literal) end
  local digits = not is_text and literal:match("^-?(%d+)$")
  if digits and exceeds(digits, MAX_SAFE) then
    return "is not below 2^53, where JSON numbers are rounded: write it in quotes"
  end
end

-- Both alphabets of RFC 4648 are accepted, with padding or without, but not mixed.
local function base64_problem(content)
  local core, padding = content:match("^([%w+/_-]*)(=*)$")
  local rest = core and #core % 4
  if not core or (find(core, "[+/]") and find(core, "[-_]")) then
    return "must be base64: A-Z, a-z, 0-9, + and /, or - and _"
  end
  if rest == 1 or (#padding > 0 and #padding ~= (4 - rest) % 4) then return "must be base64, but its end is missing" end
end

local function duration_problem(content)
  local seconds, fraction = content:match("^-?(%d+)(%.?%d*)s$")
  if not seconds or fraction == "." or #fraction > 10 then
    return 'must be seconds with an "s", such as "1.5s", is ' .. shown(content)
  end
  if exceeds(seconds, MAX_SECONDS) then return "is longer than " .. MAX_SECONDS .. " seconds" end
end

local function is_date(year, month, day)
  local is_leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  local days = MONTH_DAYS[month]
  return year > 0 and days and day > 0 and day <= (month == 2 and not is_leap and 28 or days)
end

-- The form of RFC 3339 that Envoy reads, with up to nine digits of fraction.
local function timestamp_problem(content)
  local problem = 'must be a time such as "2026-01-31T12:00:00Z", is ' .. shown(content)
  local date, clock, rest = content:match("^(%d%d%d%d%-%d%d%-%d%d)T(%d%d:%d%d:%d%d)(.+)$")
  if not date then return problem end
  local year, month, day = date:match("(%d+)%-(%d+)%-(%d+)")
  local hour, minute, second = clock:match("(%d+):(%d+):(%d+)")
  if not is_date(tonumber(year), tonumber(month), tonumber(day)) then return problem end
  if tonumber(hour) > 23 or tonumber(minute) > 59 or tonumber(second) > 59 then return problem end
  local zone = rest:match("^%.%d+(.+)$") or rest
  if #rest - #zone > 10 then return problem end
  local zone_hour, zone_minute = zone:match("^[+-](%d%d):(%d%d)$")
  if zone ~= "Z" and not zone_hour then return problem end
  if zone_hour and (tonumber(zone_hour) > 23 or tonumber(zone_minute) > 59) then return problem end
end

local function enum_problem(enum, literal, is_text)
  local is_known = is_text and enum.names[literal] or not is_text and enum.numbers[literal]
  if not is_known then return shown(literal) .. " is not one of: " .. enum.listing end
end

-- What a field of each kind accepts: `problem(field, content, is_text)` returns the problem of a string or number.
local KINDS = {
  string = { expects = "text in quotes", text = true, problem = function() end },
  bytes = { expects = "base64 in quotes", text = true, problem = function(_, content) return base64_problem(content) end },
  duration = {
    expects = 'seconds in quotes, such as "1.5s"', text = true,
    problem = function(_, content) return duration_problem(content) end,
  },
  timestamp = {
    expects = 'a time in quotes, such as "2026-01-31T12:00:00Z"', text = true,
    problem = function(_, content) return timestamp_problem(content) end,
  },
  enum = {
    expects = "the name of a value in quotes", text = true, number = true,
    problem = function(field, content, is_text) return enum_problem(field.type, content, is_text) end,
  },
  int32 = {
    expects = "a whole number", text = true, number = true,
    problem = function(_, content, is_text) return integer_problem(content, "int32", is_text) end,
  },
  int64 = {
    expects = "a whole number", text = true, number = true,
    problem = function(_, content, is_text) return integer_problem(content, "int64", is_text) end,
  },
  double = {
    expects = "a number", text = true, number = true,
    problem = function(_, content, is_text) return double_problem(content, is_text) end,
  },
}

local check_object

local function unexpected(reading, field, at, depth)
  local expects = field.kind == "message" and (HINTS[field.type.name] or "an object")
    or field.kind == "bool" and "true or false"
    or KINDS[field.kind].expects
  violate(reading, "must be " .. expects)
  return skip_value(reading.text, at, depth)
end

local function check_bound(reading, content)
  local wanted = reading.bound[table.concat(reading.trail):sub(2)]
  if wanted and wanted ~= content then
    violate(reading, "is " .. shown(content) .. " here and " .. shown(wanted) .. " in the path")
  end
end

-- Checks one value of a field; returns the position behind it.
local function check_value(reading, field, at, depth)
  local text, first = reading.text, byte(reading.text, at)
  if field.kind == "message" then
    if first ~= 123 then return unexpected(reading, field, at, depth) end
    return check_object(reading, field.type, at, depth)
  end
  if field.kind == "bool" then
    local word = literal_at(text, at)
    if word ~= "true" and word ~= "false" then return unexpected(reading, field, at, depth) end
    return at + #word
  end
  local kind = KINDS[field.kind]
  if first == 34 and kind.text then
    local behind, content = read_string(text, at)
    local problem = kind.problem(field, content, true)
    if problem then violate(reading, problem) end
    if field.is_bound then check_bound(reading, content) end
    return behind
  end
  if kind.number and first and find(text, "^[-%d]", at) then
    local behind = skip_number(text, at)
    local problem = kind.problem(field, sub(text, at, behind - 1), false)
    if problem then violate(reading, problem) end
    return behind
  end
  return unexpected(reading, field, at, depth)
end

local function check_element(reading, field, part, at, depth)
  local trail = reading.trail
  trail[#trail + 1] = part
  local behind = check_value(reading, field, at, depth)
  trail[#trail] = nil
  return behind
end

local function check_list(reading, field, at, depth)
  return each_element(reading.text, at, function(index, inner)
    return check_element(reading, field, "[" .. index .. "]", inner, depth + 1)
  end)
end

local function check_map(reading, field, at, depth)
  local seen = {}
  return each_member(reading.text, at, function(key, inner)
    if seen[key] then violate(reading, "has " .. shortened(key, 60) .. " twice") end
    seen[key] = true
    return check_element(reading, field, "['" .. shortened(key, 60) .. "']", inner, depth + 1)
  end)
end

-- Checks a field as a whole, be it a list, a map or one value.
local function check_field(reading, field, at, depth)
  local opening = field.repeats == "list" and 91 or field.repeats == "map" and 123
  if not opening then return check_value(reading, field, at, depth) end
  if byte(reading.text, at) ~= opening then
    violate(reading, field.repeats == "list" and "must be a list" or "must be an object")
    return skip_value(reading.text, at, depth)
  end
  return (field.repeats == "list" and check_list or check_map)(reading, field, at, depth)
end

-- Notes that a field is there; `oneofs` has the field that is set of each oneof.
local function note_presence(reading, field, present, oneofs)
  local other = field.oneof and oneofs[field.oneof]
  if present[field.name] then
    violate(reading, "is there twice")
  elseif other then
    violate(reading, "cannot be beside " .. other .. ": only one of them is allowed")
  end
  present[field.name] = true
  if field.oneof then oneofs[field.oneof] = field.name end
end

function check_object(reading, message, at, depth)
  if depth > MAX_DEPTH then fault(at, "values are nested more than " .. MAX_DEPTH .. " levels deep") end
  local trail, text, present, oneofs = reading.trail, reading.text, {}, {}
  return each_member(text, at, function(key, inner)
    local field = message.fields[key]
    trail[#trail + 1] = "." .. (field and field.name or shortened(key, 60))
    local behind
    if not field then
      violate(reading, "is not a field of " .. message.name .. ", which has " .. message.listing)
      behind = skip_value(text, inner, depth + 1)
    elseif literal_at(text, inner) == "null" then
      behind = inner + 4  -- In ProtoJSON the same as an absent field.
    else
      note_presence(reading, field, present, oneofs)
      behind = check_field(reading, field, inner, depth + 1)
    end
    trail[#trail] = nil
    return behind
  end)
end

-- Checks a whole body. Returns its violations, and how many more there are.
local function check_body(text, message, bound)
  local reading = new_reading(text, bound)
  local utf8 = utf8_fault(text)
  if utf8 then fault(utf8, "this byte is not UTF-8") end
  local at = skip_space(text, 1)
  if at > #text then fault(at, "the body is empty; it must be a JSON object, at least {}") end
  if byte(text, at) ~= 123 then fault(at, "the body must be a JSON object") end
  at = skip_space(text, check_object(reading, message, at, 1))
  if at <= #text then fault(at, "the body must end here") end
  return reading.violations, reading.more
end
