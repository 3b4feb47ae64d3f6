-- Envoy's entry point of the filter between the transcoder and the server. `DEADLINE_STATUS` is a google.rpc.Status.

-- Adds the details to a status of gRPC's own: it ends a call at the deadline without a word of the server's.
local function complete(fields)
  if fields and fields:get("grpc-status") == "4" and not fields:get("grpc-status-details-bin") then
    fields:add("grpc-status-details-bin", DEADLINE_STATUS)
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get("grpc-status") then
    complete(headers)
  else
    complete(handle:trailers())  -- Waits for them, and lets the body pass.
  end
end
