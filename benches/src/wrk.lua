-- Orders for wrk: each the next buyer's of a file of tokens, under a key of its own.
--   wrk … URL -- FILE_OF_TOKENS PATH NAME_OF_THE_RUN
local tokens, number, before, between, after = {}, 0, "", "", ""

function init(args)
  for token in io.lines(args[1]) do tokens[#tokens + 1] = token end
  local body = '{"quantity":1}'
  before = "POST " .. args[2] .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port ..
    "\r\nAuthorization: Bearer "
  between = "\r\nIdempotency-Key: " .. args[3] .. "-"
  after = "\r\nContent-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function request()
  number = number + 1
  return before .. tokens[number % #tokens + 1] .. between .. number .. after
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("found %d %d %d %d %d %d\n", summary.requests, summary.duration,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
