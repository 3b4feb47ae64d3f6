-- Envoy's entry points. `RULES` has the rule of each route by its name, `REFUSALS` the codes of refusals.

-- Headers of gRPC's own that mean nothing beside JSON.
local GRPC_HEADERS = { "grpc-status", "grpc-message", "grpc-accept-encoding", "grpc-retry-pushback-ms" }
local MAX_MESSAGE, MAX_DESCRIPTION, MAX_FIELD = 800, 256, 150

-- Refuses a request with a google.rpc.Status as JSON. `violations` are those of a google.rpc.BadRequest.
local function refuse(handle, reason, message, violations)
  local refusal = REFUSALS[reason]
  local details = {
    '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"' .. reason .. '","domain":"' .. DOMAIN .. '"}',
  }
  if violations then
    local listed = {}
    for at, one in ipairs(violations) do
      listed[at] = '{"field":' .. quoted(shortened(one.field, MAX_FIELD)) .. ',"description":'
        .. quoted(shortened(one.description, MAX_DESCRIPTION)) .. "}"
    end
    details[2] = '{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":['
      .. table.concat(listed, ",") .. "]}"
  end
  local headers = { [":status"] = refusal.http, ["content-type"] = "application/json" }
  local body = '{"code":' .. refusal.code .. ',"message":' .. quoted(shortened(message, MAX_MESSAGE))
    .. ',"details":[' .. table.concat(details, ",") .. "]}"
  handle:streamInfo():dynamicMetadata():set(CHECK_METADATA, "refused", true)
  handle:respond(headers, body)
end

-- A refusal of violations, as `refuse` takes it.
local function invalid(violations, more)
  local texts = {}
  for at, one in ipairs(violations) do texts[at] = one.field .. ": " .. one.description end
  if more > 0 then texts[#texts + 1] = "and " .. more .. " more" end
  return "INVALID_REQUEST", table.concat(texts, "; "), violations
end

-- The violation of a body that is no JSON, with the place of the fault as an editor shows it.
local function json_violation(text, one)
  local before = sub(text, 1, one.at - 1)
  local _, lines = before:gsub("\n", "")
  local column = #before:match("[^\n]*$") + 1
  return { field = "body", description = "line " .. lines + 1 .. ", byte " .. column .. ": " .. one.reason }
end

-- Returns the values that the path gives to fields, by field path; nil, the field and its problem if one is wrong.
local function bound_values(rule, path)
  local values, bound = { path:match(rule.pattern) }, {}
  for at, name in ipairs(rule.bindings) do
    local value = percent_decoded(values[at] or "%")
    if not value or utf8_fault(value) then return nil, name, "is not percent-encoded UTF-8 in the path" end
    if find(value, "[/\\]") then
      return nil, name, "has a slash in the path (%2F or %5C), and no name has one: correct the name"
    end
    bound[name] = value
  end
  return bound
end

-- Adds a violation for each query parameter that the rule does not have, or whose value does not fit.
local function query_violations(rule, query)
  local violations, seen = {}, {}
  local function add(name, description)
    if #violations < MAX_VIOLATIONS then
      violations[#violations + 1] = { field = shortened(name, MAX_FIELD), description = description }
    end
  end
  for part in query:gmatch("[^&]+") do
    local raw_name, raw_value = part:match("^([^=]*)=?(.*)$")
    local name, value = percent_decoded(raw_name), percent_decoded(raw_value)
    if not name or not value or utf8_fault(name) or utf8_fault(value) then
      add("query string", "is not percent-encoded UTF-8")
    elseif not rule.parameters[name] then
      add(name, "is not a query parameter of this route, which has " .. rule.listing)
    else
      local field = rule.parameters[name]
      local problem = seen[field.name] and "is there twice" or KINDS[field.kind].problem(field, value, true)
      seen[field.name] = true
      if problem then add(field.name, problem) end
    end
  end
  return violations
end

local function size_problem(rule, bytes)
  if rule.max_bytes and bytes > rule.max_bytes then
    return "REQUEST_TOO_LARGE", "the body has " .. bytes .. " bytes; this route accepts " .. rule.max_bytes
  end
end

-- Returns the reason and the message with which a request's headers are refused, or nil.
local function header_problem(rule, headers)
  local timeout = headers:get("grpc-timeout")
  if timeout and not (find(timeout, "^%d+[HMSmun]$") and #timeout <= 9) then
    return "INVALID_REQUEST", "grpc-timeout: must be up to 8 digits and a unit, such as 5S or 500m"
  end
  if not rule.message then return nil end
  local kind = (headers:get("content-type") or ""):lower()
  if kind:match("^%s*([^;]-)%s*;") then kind = kind:match("^%s*([^;]-)%s*;") end
  if kind ~= "application/json" then
    return "UNSUPPORTED_MEDIA_TYPE", "the header content-type must be application/json"
  end
  local coding = headers:get("content-encoding")
  if coding and coding:lower() ~= "identity" then
    return "UNSUPPORTED_MEDIA_TYPE", "a body with a content-encoding is not accepted: send it as it is"
  end
  return size_problem(rule, tonumber(headers:get("content-length") or "") or 0)
end

-- Returns the refusal of a request, or nil.
local function refusal_of(rule, path, text)
  local reason, message = size_problem(rule, #text)
  if reason then return reason, message end
  local route, query = path:match("^([^?]*)%??(.*)$")
  local bound, broken, problem = bound_values(rule, route)
  if not bound then return invalid({ { field = broken, description = problem } }, 0) end
  local violations = query_violations(rule, query)
  if #violations > 0 then return invalid(violations, 0) end
  if not rule.message then
    if text ~= "" then return "INVALID_REQUEST", "a GET request has no body: use query parameters" end
    return nil
  end
  local well, found, more = pcall(check_body, text, rule.message, bound)
  if well then
    if #found > 0 then return invalid(found, more) end
  elseif type(found) == "table" then
    return invalid({ json_violation(text, found) }, 0)
  else
    error(found, 0)
  end
end

-- Removes headers that HTTP allows and gRPC does not: its server fails such a call with INTERNAL. Names have fewer
-- signs there, and values of names with `-bin` are base64.
local function remove_foreign(headers)
  local foreign = {}
  for name in pairs(headers) do
    if not find(name, "^:?[%w_.-]+$") or find(name, "%-bin$") then foreign[#foreign + 1] = name end
  end
  -- Envoy does not let headers change while they are read.
  for _, name in ipairs(foreign) do headers:remove(name) end
end

function envoy_on_request(handle)
  local rule = RULES[handle:filterContext():get("rule")]
  if not rule then return end
  local headers = handle:headers()
  local path = headers:get(":path")
  remove_foreign(headers)
  -- The transcoder lets a request pass that calls itself gRPC.
  if not rule.message then headers:remove("content-type") end
  local reason, message, violations = header_problem(rule, headers)
  if not reason then
    local body = handle:body()  -- Waits for the whole body; `headers` must not be used behind it.
    local text = body and body:length() > 0 and body:getBytes(0, body:length()) or ""
    local well
    well, reason, message, violations = pcall(refusal_of, rule, path, text)
    if not well then
      -- Envoy lets a request pass whose script fails.
      handle:logErr("the request filter failed: " .. tostring(reason))
      reason, message = "INTERNAL", "the gateway could not check the request"
    end
  end
  if reason then refuse(handle, reason, message, violations) end
end

function envoy_on_response(handle)
  local rule = RULES[handle:filterContext():get("rule")]
  if not rule then return end
  local headers = handle:headers()
  if not find(headers:get("content-type") or "", "^application/json") then return end
  local pushback = tonumber(headers:get("grpc-retry-pushback-ms") or "")
  if pushback and pushback >= 0 then headers:replace("retry-after", tostring(math.ceil(pushback / 1000))) end
  if rule.streams and headers:get(":status") == "200" then
    headers:replace("content-type", "application/x-ndjson")
  end
  for _, name in ipairs(GRPC_HEADERS) do headers:remove(name) end
end
