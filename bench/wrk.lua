-- wrk --script wrk.lua URL -- FILE EXPECT
-- Sends the requests of FILE (whole messages, NUL between them) in turn and prints one line of JSON at the end.
-- If EXPECT is not empty, each answer's body must hold it.

local thread
function setup(t) thread = t end

function init(args)
  local text = assert(io.open(args[1], "rb")):read("*a")
  requests = {}
  for one in text:gmatch("[^%z]+") do requests[#requests + 1] = one end
  turn, wrong = 0, 0
  local expect = args[2]
  if expect and expect ~= "" then
    response = function(status, headers, body)
      if status ~= 200 or not body:find(expect, 1, true) then wrong = wrong + 1 end
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout + thread:get("wrong")
  io.write(string.format('\n{"count":%d,"seconds":%.6f,"failed":%d,"p50":%.3f,"p99":%.3f}\n', summary.requests,
    summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
