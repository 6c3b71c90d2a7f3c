-- Prints what wrk measured as one line of JSON. Defining nothing but done() keeps the requests on wrk's fast path.
done = function(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      'report {"requests":%d,"bytes":%d,"microseconds":%d,"socket_errors":%d,"status_errors":%d,"p50":%d,"p99":%d,"max":%d}\n',
      summary.requests, summary.bytes, summary.duration,
      e.connect + e.read + e.write + e.timeout, e.status,
      latency:percentile(50), latency:percentile(99), latency.max))
end
