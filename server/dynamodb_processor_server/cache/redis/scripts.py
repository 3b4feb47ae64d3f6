"""The shared cache's atomic operations in Redis, as Lua scripts.

The first key is the prefix of all others. The epoch's key holds 32 random hexadecimal digits and
the server's run ID; each entry of the log (a Redis stream) names its epoch. Whenever the two do not
agree with the server and with each other, data may have been lost, and a new epoch begins: pages
and generations of earlier epochs are under other names. A value of the wrong type or form counts as
missing.

Usual access lists forbid INFO, which has the run ID. Then the epoch's key holds the digits alone,
and each poll sets a heartbeat. A server that lost data has lost the latest heartbeats too: an epoch
ends after a second without one.
"""

from __future__ import annotations

from typing import Final

# What each script begins with: the epoch, the number of the last event, how a generation is made.
# The first line is for Redis before 7: the written values depend on the time and on random digits.
PRELUDE: Final = """
if redis.replicate_commands then redis.replicate_commands() end
local prefix, random, known = KEYS[1], ARGV[1], ARGV[2]
local stream = prefix .. 'invalidations'
local function text(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or ''
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end
local function beat() redis.call('SET', prefix .. 'heartbeat', string.format('%.0f', now)) end
local function lives(epoch)
  if #epoch > 32 then return string.sub(epoch, 33) == run() end
  return #epoch == 32 and now - (tonumber(text(prefix .. 'heartbeat')) or 0) < 1000
end
local epoch, sequence = text(prefix .. 'epoch'), nil
local last = redis.pcall('XREVRANGE', stream, '+', '-', 'COUNT', 1)
if last[1] and last[1][2][2] == epoch and lives(epoch) then
  sequence = tonumber(string.match(last[1][1], '^(%d+)%-0$'))
end
local function begin()
  epoch, sequence = random .. run(), 1
  redis.call('SET', prefix .. 'epoch', epoch)
  redis.call('DEL', stream)
  redis.call('XADD', stream, '1-0', 'epoch', epoch, 'event', '')
  if #epoch == 32 then beat() end
end
if not sequence then begin() end
local base = prefix .. string.sub(epoch, 1, 32) .. ':'
local function generation(name, number, kind, lifetime)
  local digits = string.sub(redis.sha1hex(random .. number), 1, 32)
  local made = digits .. kind .. string.format('%.0f', now)
  redis.call('SET', base .. 'gen:' .. name, made, 'PX', lifetime)
  return made
end
"""

# quarantine, how long a generation counts as new, generations' spare time, lifetime of pages and
# items that will be stored (0 if none will be, so that no generation is made)
# Times are in ms. Not every lookup writes: a generation's lifetime is extended only when less than
# half of its spare time is left.
LOOK_UP_TAG: Final = """
if epoch ~= known then return {epoch} end
local quarantine, new_for = tonumber(ARGV[3]), tonumber(ARGV[4])
local spare, lifetime = tonumber(ARGV[5]), tonumber(ARGV[6])
local function look_up(tag, number)
  local name = base .. 'gen:' .. tag
  local value = text(name)
  local kind, at = string.match(string.sub(value, 33), '^([mn])(%d+)$')
  if not kind then
    kind, at, value = 'n', now, ''
    if lifetime > 0 then value = generation(tag, number, 'n', lifetime + spare) end
  elseif lifetime > 0 and redis.call('PTTL', name) < lifetime + spare / 2 then
    redis.call('PEXPIRE', name, lifetime + spare)
  end
  local age = now - tonumber(at)
  return value, kind == 'm' and age < quarantine, kind == 'n' and age < new_for
end
"""

# as above; then page, lease, its lifetime, whether the page is wanted, tags...
LOOK_UP: Final = (
    PRELUDE
    + LOOK_UP_TAG
    + """
local page, generations, past, has_new = ARGV[7], {}, 1, 0
for number = 11, #ARGV do
  local value, is_hot, is_new = look_up(ARGV[number], number)
  if is_hot then past = 0 end
  if is_new then has_new = 1 end
  generations[#generations + 1] = value
end
local digest = redis.sha1hex(table.concat(generations))
local key, value, lease = base .. 'page:' .. page, '', ''
if ARGV[10] == '1' and redis.pcall('GETRANGE', key, 0, 39) == digest then value = text(key) end
if value == '' and ARGV[8] ~= '' and past == 1 then
  local name = base .. 'lease:' .. page .. digest
  local taken = redis.call('SET', name, ARGV[8], 'NX', 'PX', ARGV[9])
  lease = (taken or redis.pcall('GET', name) == ARGV[8]) and 'mine' or 'theirs'
end
return {epoch, sequence, past, has_new, value, lease, generations}
"""
)

# epoch, page, lease, digest of the generations, value, lifetime; an empty value is not stored
STORE: Final = """
local base, page = KEYS[1] .. string.sub(ARGV[1], 1, 32) .. ':', ARGV[2]
local lease = base .. 'lease:' .. page .. ARGV[4]
if redis.pcall('GET', lease) == ARGV[3] then redis.call('DEL', lease) end
if ARGV[5] ~= '' then redis.call('SET', base .. 'page:' .. page, ARGV[5], 'PX', ARGV[6]) end
return 1
"""

# event, generations' lifetime, events kept, tags...
INVALIDATE: Final = (
    PRELUDE
    + """
for number = 6, #ARGV do generation(ARGV[number], number, 'm', ARGV[4]) end
local id = string.format('%.0f-0', sequence + 1)
redis.call('XADD', stream, 'MAXLEN', '~', ARGV[5], id, 'epoch', epoch, 'event', ARGV[3])
return {epoch, sequence + 1}
"""
)

# after, the largest lag for which events are returned, the most events to return, the cursor of the
# last known progress, the most progress to return
POLL: Final = (
    PRELUDE
    + """
local events, progress, after = {}, {}, tonumber(ARGV[3])
if #epoch == 32 then beat() end
if epoch == known and sequence - after <= tonumber(ARGV[4]) then
  local from = string.format('%.0f-0', after + 1)
  for _, entry in ipairs(redis.call('XRANGE', stream, from, '+', 'COUNT', ARGV[5])) do
    events[#events + 1] = entry[1]
    events[#events + 1] = entry[2][4] or ''
  end
end
if epoch == known then
  local from = '(' .. ARGV[6]
  for _, entry in ipairs(redis.pcall('XRANGE', base .. 'progress', from, '+', 'COUNT', ARGV[7])) do
    progress[#progress + 1] = entry[1]
    progress[#progress + 1] = entry[2][2]
  end
end
return {epoch, sequence, events, progress}
"""
)

# value, values kept, their lifetime in ms
NOTE_PROGRESS: Final = (
    PRELUDE
    + """
if epoch == known then
  local name = base .. 'progress'
  local id = redis.pcall('XADD', name, 'MAXLEN', ARGV[4], '*', 'value', ARGV[3])
  if type(id) ~= 'string' then redis.call('DEL', name) end
  redis.call('PEXPIRE', name, ARGV[5])
end
return {epoch}
"""
)

RENEW: Final = (
    PRELUDE
    + """
if epoch == known then begin() end
return {epoch}
"""
)
