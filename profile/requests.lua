-- Requests as browsers and programs send them, in turn: headers, cookies, bodies with a length and in chunks.
local browser = {
   ["Host"] = "shop.example.com",
   ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
   ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
   ["Accept-Language"] = "en-US,en;q=0.5",
   ["Accept-Encoding"] = "gzip, deflate, br, zstd",
   ["Cookie"] = "session-type=premium; uid=1c9f5a0b7e; theme=dark",
   ["X-Forwarded-For"] = "203.0.113.9",
}
local program = { ["Host"] = "www.example.com", ["Content-Type"] = "application/json", ["X-Debug"] = "1" }
local chunked = { ["Host"] = "www.example.com", ["Transfer-Encoding"] = "chunked" }
local requests

init = function()
   requests = {
      wrk.format("GET", "/v2/items/17?size=10", browser),
      wrk.format("GET", "/", browser),
      wrk.format("POST", "/api/items", program, string.rep("x", 700)),
      wrk.format("GET", "/missing", browser),
      wrk.format("GET", "/private/page", browser),
      wrk.format("PUT", "/api/items/17", chunked) .. "5\r\nhello\r\n0\r\n\r\n",
      wrk.format("GET", "/chunked", browser),
   }
end

local turn = 0
request = function()
   turn = turn % #requests + 1
   return requests[turn]
end
