-- Text: UTF-8, and JSON strings as they are written into refusals.

local byte, char, find, format, sub = string.byte, string.char, string.find, string.format, string.sub

-- Returns the position of the first byte that is not UTF-8, or nil.
local function utf8_fault(text)
  local at = find(text, "[\128-\255]")
  while at do
    local first, second = byte(text, at, at + 1)
    local length, low, high = 0, 128, 191
    if first >= 194 and first <= 223 then
      length = 2
    elseif first >= 224 and first <= 239 then
      length = 3
      if first == 224 then low = 160 elseif first == 237 then high = 159 end
    elseif first >= 240 and first <= 244 then
      length = 4
      if first == 240 then low = 144 elseif first == 244 then high = 143 end
    end
    if length == 0 or not second or second < low or second > high then return at end
    for follower = at + 2, at + length - 1 do
      local value = byte(text, follower)
      if not value or value < 128 or value > 191 then return at end
    end
    at = find(text, "[\128-\255]", at + length)
  end
  return nil
end

-- Returns UTF-8 text, or its beginning of at most `limit` bytes and an ellipsis.
local function shortened(text, limit)
  if #text <= limit then return text end
  local stop = limit
  while stop > 0 and byte(text, stop + 1) >= 128 and byte(text, stop + 1) <= 191 do stop = stop - 1 end
  return sub(text, 1, stop) .. "…"
end

-- Returns a code point as UTF-8.
local function utf8_of(code)
  local function tail(shift) return 128 + math.floor(code / 64 ^ shift) % 64 end
  if code < 128 then return char(code) end
  if code < 2048 then return char(192 + math.floor(code / 64), tail(0)) end
  if code < 65536 then return char(224 + math.floor(code / 4096), tail(1), tail(0)) end
  return char(240 + math.floor(code / 262144), tail(2), tail(1), tail(0))
end

local WRITTEN = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- Returns text as a JSON string.
local function quoted(text)
  local escaped = text:gsub('[%z\1-\31"\\\127]', function(one) return WRITTEN[one] or format("\\u%04x", byte(one)) end)
  return '"' .. escaped .. '"'
end

-- Returns text with its percent-encoded bytes decoded, or nil if an encoding is broken.
local function percent_decoded(text)
  if find(text, "%%%X") or find(text, "%%%x%X") or find(text, "%%%x?$") then return nil end
  return (text:gsub("%%(%x%x)", function(digits) return char(tonumber(digits, 16)) end))
end
