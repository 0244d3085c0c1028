-- wrk calls this when a run is over: its figures on one line, for bench/run.  Times in microseconds.
function done(summary, latency, requests)
   local e = summary.errors
   print(string.format('REPORT %d %d %d %d %d %d %d', summary.requests, summary.duration,
      e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99),
      latency:percentile(99.9), latency.max))
end
