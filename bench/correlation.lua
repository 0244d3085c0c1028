-- Requests whose ids are all different, for bench/correlation: FRESH=1 puts them in, FRESH=0 leaves them out.
local fresh, n = os.getenv("FRESH") == "1", 0

function request()
   n = n + 1
   if fresh then
      wrk.headers["X-Request-Id"] = string.format("req-%08x-5a58-4b2e-8a39-5e6c7f1f6b1c", n)
      wrk.headers["traceparent"] = string.format("00-4bf92f3577b34da6a3ce929d%08x-00f067aa0ba902b7-01", n)
   end
   return wrk.format()
end

dofile(os.getenv("REPORT"))
