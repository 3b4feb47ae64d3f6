"""The shared item cache's atomic operations in Redis, as Lua scripts; see `cache.redis.scripts`.

A stored item is a digest of its generations (40 hexadecimal digits), its order (a letter and 40
decimal digits) and the encrypted value. The order of an item that was read is `r` and the time when
the read ended, in ms; that of an item from a stream record is `s` and the record's sequence number.
So a write can be compared with the item without decrypting anything.
"""

from __future__ import annotations

from typing import Final

from dynamodb_processor_server.cache.redis.scripts import LOOK_UP_TAG, PRELUDE

# quarantine, how long a generation counts as new, generations' spare time, items' lifetime, whether
# the items are wanted, the table's tag; then for each item: name, tag of its partition, its own tag
LOOK_UP_ITEMS: Final = (
    PRELUDE
    + LOOK_UP_TAG
    + """
local known_tags = {}
local function state(tag, number)
  if not known_tags[tag] then known_tags[tag] = {look_up(tag, number)} end
  return unpack(known_tags[tag])
end
local table_value, table_hot, table_new = state(ARGV[8], 8)
local digests, flags, values = {}, {}, {}
for number = 9, #ARGV, 3 do
  local partition_value, partition_hot, partition_new = state(ARGV[number + 1], number + 1)
  local item_value, item_hot, item_new = state(ARGV[number + 2], number + 2)
  local digest = redis.sha1hex(table_value .. partition_value .. item_value)
  local key, value = base .. 'item:' .. ARGV[number], ''
  if ARGV[7] == '1' then
    value = text(key)
    value = string.sub(value, 1, 40) == digest and string.sub(value, 82) or ''
  end
  local past = not (table_hot or partition_hot or item_hot)
  local is_new = table_new or partition_new or item_new
  digests[#digests + 1] = digest
  flags[#flags + 1] = (past and 2 or 0) + (is_new and 1 or 0)
  values[#values + 1] = value
end
return {epoch, sequence, digests, flags, values}
"""
)

# epoch; then for each item: name, its three tags, digest of its generations, order, value, lifetime
STORE_ITEMS: Final = """
local base = KEYS[1] .. string.sub(ARGV[1], 1, 32) .. ':'
local function generation(tag)
  local value = redis.pcall('GET', base .. 'gen:' .. tag)
  return type(value) == 'string' and value or ''
end
for number = 2, #ARGV, 8 do
  local key, digest, order = base .. 'item:' .. ARGV[number], ARGV[number + 4], ARGV[number + 5]
  local tags = generation(ARGV[number + 1]) .. generation(ARGV[number + 2])
  if redis.sha1hex(tags .. generation(ARGV[number + 3])) == digest then
    local head = redis.pcall('GETRANGE', key, 0, 80)
    local known = type(head) == 'string' and string.sub(head, 1, 41) == digest .. 'r'
    if not known or string.sub(head, 41) <= order then
      redis.call('SET', key, digest .. order .. ARGV[number + 6], 'PX', ARGV[number + 7])
    end
  end
end
return 1
"""

# event, generations' lifetime, events kept, generations' spare time; then for each write: its
# sequence number, the time until which read items are replaced, three tags, the number of further
# names of the item's tag and of items; these names; name, value and lifetime of each item
APPLY_WRITES: Final = (
    PRELUDE
    + """
local spare, at = tonumber(ARGV[6]), 7
local function apply()
  local sequence, read_until, own = 's' .. ARGV[at], 'r' .. ARGV[at + 1], ARGV[at + 4]
  local shared = text(base .. 'gen:' .. ARGV[at + 2]) .. text(base .. 'gen:' .. ARGV[at + 3])
  local digest = redis.sha1hex(shared .. text(base .. 'gen:' .. own))
  local first = at + 7 + tonumber(ARGV[at + 5])
  local last = first + 3 * tonumber(ARGV[at + 6]) - 1
  for number = at + 7, first - 1 do generation(ARGV[number], number, 'm', ARGV[4]) end
  local older, lifetime = {}, tonumber(ARGV[4])
  for number = first, last, 3 do
    local head = redis.pcall('GETRANGE', base .. 'item:' .. ARGV[number], 0, 80)
    if epoch == known and type(head) == 'string' and string.sub(head, 1, 40) == digest then
      local order = string.sub(head, 41)
      local kind = string.sub(order, 1, 1)
      if kind == 's' and order >= sequence then return last + 1 end
      if kind == 's' or (kind == 'r' and order < read_until) then
        older[#older + 1] = number
        lifetime = math.max(lifetime, tonumber(ARGV[number + 2]) + spare)
      end
    end
  end
  digest = redis.sha1hex(shared .. generation(own, at, 'm', lifetime))
  for _, number in ipairs(older) do
    local value = digest .. sequence .. ARGV[number + 1]
    redis.call('SET', base .. 'item:' .. ARGV[number], value, 'PX', ARGV[number + 2])
  end
  return last + 1
end
while at <= #ARGV do at = apply() end
local id = string.format('%.0f-0', sequence + 1)
redis.call('XADD', stream, 'MAXLEN', '~', ARGV[5], id, 'epoch', epoch, 'event', ARGV[3])
return {epoch, sequence + 1}
"""
)
