"""The shared limits' atomic operations in Redis, as Lua scripts.

The time is the server's, so that the clocks of replicas do not matter. A value of the wrong type or
form counts as missing and is overwritten, and each key expires when it is no longer needed.

The windows of the `limits` library were tried: a key of theirs that has lost its lifetime refuses
calls forever, the time to wait takes a second script, and its extra requires a `redis` below 8.
"""

from __future__ import annotations

from typing import Final

# The first line is for Redis before 7: the written values depend on the time.
_PRELUDE: Final = """
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[2])
local function text(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or ''
end
"""

# Keys: windows, one for each call; arguments: limit and length in seconds for each of them. The
# same rule as in `runtime.sliding_window`. The response to a counted call is an empty string.
ACQUIRE_WINDOWS: Final = (
    _PRELUDE
    + """
local function take(key, limit, length)
  local index = math.floor(seconds / length)
  local passed = (seconds % length + micros / 1000000) / length
  local at, before, now = string.match(text(key), '^(%d+) (%d+) (%d+)$')
  local previous, current = 0, 0
  if tonumber(at) == index then
    previous, current = tonumber(before), tonumber(now)
  elseif tonumber(at) == index - 1 then
    previous = tonumber(now)
  end
  if math.floor(previous * (1 - passed)) + current >= limit then
    return string.format('%.0f %.0f %.17g', previous, current, passed)
  end
  local value = string.format('%.0f %.0f %.0f', index, previous, current + 1)
  redis.call('SET', key, value, 'EX', 2 * length)
  return ''
end
local answers = {}
for number, key in ipairs(KEYS) do
  answers[number] = take(key, tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number]))
end
return answers
"""
)

# Keys: buckets; arguments: capacity and units for each of them.
DEBIT_BUCKETS: Final = (
    _PRELUDE
    + """
local now, balances = seconds + micros / 1000000, {}
for number, key in ipairs(KEYS) do
  local capacity, units = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
  local left, at = string.match(text(key), '^(%-?%d+%.%d+) (%d+%.%d+)$')
  local balance = capacity
  if left then
    local back = math.max(0, now - tonumber(at)) * capacity / 60
    balance = math.min(capacity, tonumber(left) + back)
  end
  balance = balance - units
  if balance < capacity then
    local full = math.ceil((capacity - balance) * 60 / capacity)
    redis.call('SET', key, string.format('%.6f %.6f', balance, now), 'EX', full)
  else
    redis.call('DEL', key)
  end
  balances[number] = string.format('%.6f', balance)
end
return balances
"""
)
