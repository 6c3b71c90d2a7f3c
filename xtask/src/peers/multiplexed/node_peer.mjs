// A web server and a client of HTTP/2 in Node.
//
//   node_peer.mjs serve h1|h2c|h2 PORT NAME [CERTIFICATE KEY]
//   node_peer.mjs client ORIGIN [AUTHORITY]     every check over one connection; the last line is JSON
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import { Readable } from "node:stream";

const [command, ...rest] = process.argv.slice(2);
const MEGABYTE = Buffer.alloc(1 << 20, Buffer.from(Array.from({ length: 251 }, (_, at) => at)));

function* content(length) {
  for (let left = length; left > 0; left -= MEGABYTE.length) yield MEGABYTE.subarray(0, left);
}

function digest(length) {
  const sum = crypto.createHash("sha256");
  for (const piece of content(length)) sum.update(piece);
  return `${length} ${sum.digest("hex")}`;
}

async function digested(source) {
  const sum = crypto.createHash("sha256");
  let length = 0;
  for await (const piece of source) {
    sum.update(piece);
    length += piece.length;
  }
  return `${length} ${sum.digest("hex")}`;
}

// Gives back short WebSocket messages (RFC 6455), however they were cut on the way.
function echo(stream) {
  let waiting = Buffer.alloc(0);
  stream.on("data", (piece) => {
    waiting = Buffer.concat([waiting, piece]);
    while (waiting.length >= 6) {
      const length = waiting[1] & 0x7f;
      if (waiting.length < 6 + length) return;
      const [mask, masked] = [waiting.subarray(2, 6), waiting.subarray(6, 6 + length)];
      stream.write(Buffer.concat([Buffer.from([waiting[0], length]), masked.map((byte, at) => byte ^ mask[at % 4])]));
      waiting = waiting.subarray(6 + length);
    }
  });
  stream.on("end", () => stream.end());
  stream.on("error", () => {});
}

const held = [];
// Looks at itself in a browser: the protocol of the page and of what it asks for, and a WebSocket. The picture keeps the page
// from being done before that.
const PAGE = `<p id=found>nothing</p><img src=/held><script>
const socket = new WebSocket("wss://" + location.host + "/ws");
const tell = (words) => { document.getElementById("found").textContent = words; fetch("/release"); };
socket.onopen = () => socket.send("through a socket");
socket.onerror = () => tell("the socket failed");
socket.onmessage = async (message) => {
  await (await fetch("/digest", { method: "POST", body: "x".repeat(100000) })).text();
  const used = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind)).map((entry) => entry.nextHopProtocol);
  tell(message.data + " " + [...new Set(used)].join(","));
};
</script>`;

function answer(name) {
  const pages = {
    "/": async (request, response) => {
      await digested(request);
      response.end("x".repeat(1024));
    },
    "/browser": (request, response) => {
      response.setHeader("content-type", "text/html");
      response.end(PAGE);
    },
    "/digest": async (request, response) => response.end(await digested(request)),
    "/long": (request, response, length) => Readable.from(content(Number(length))).pipe(response),
    "/trailers": (request, response) => {
      response.setHeader("trailer", "x-sum");
      response.write("body");
      response.addTrailers({ "x-sum": "four" });
      response.end();
    },
    "/told": async (request, response) => {
      await digested(request);
      response.end(JSON.stringify(request.trailers));
    },
    "/hints": (request, response) => {
      response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
      response.end("hinted");
    },
    "/held": (request, response) => held.push(response),
    "/release": (request, response) => {
      for (const other of held.splice(0)) other.end("released");
      response.end("done");
    },
  };
  return (request, response) => {
    const [path, query] = request.url.split("?");
    response.setHeader("x-backend", name);
    response.setHeader("x-version", request.httpVersion);
    const page = pages[path];
    if (!page) response.writeHead(404);
    else if (request.method === "HEAD") response.setHeader("content-length", 1024);
    else return Promise.resolve(page(request, response, query)).catch(() => response.destroy());
    response.end();
  };
}

function serve([kind, port, name, certificate, key]) {
  const settings = { settings: { enableConnectProtocol: true }, maxSessionMemory: 1000 };
  const secure = () => ({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key), ALPNProtocols: ["h2"], ...settings });
  const make = {
    h1: () => http.createServer(answer(name)),
    h2c: () => http2.createServer(settings, answer(name)),
    h2: () => http2.createSecureServer(secure(), answer(name)),
  };
  const server = make[kind]();
  // RFC 6455 for HTTP/1.1, RFC 8441 for HTTP/2.
  server.on("upgrade", (request, socket) => {
    const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const accept = crypto.createHash("sha1").update(key).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    echo(socket);
  });
  server.on("connect", (request, response) => {
    const stream = request.stream;
    if (request.headers[":protocol"] !== "websocket") return stream.respond({ ":status": 405 }, { endStream: true });
    stream.respond({ ":status": 200 });
    echo(stream);
  });
  server.listen(Number(port), "127.0.0.1", 1024);
}

// Asks on a session; the head and the content of the answer.
async function ask(session, path, { headers = {}, body, trailers } = {}) {
  const stream = session.request({ ":path": path, ...headers }, { endStream: !body, waitForTrailers: Boolean(trailers) });
  if (trailers) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  const found = { hints: [] };
  stream.on("headers", (more) => found.hints.push(more[":status"]));
  stream.on("trailers", (more) => (found.trailers = more));
  if (body) Readable.from(body).pipe(stream);
  const [head] = await once(stream, "response");
  found.head = head;
  found.stream = stream;
  return found;
}

async function page(session, path, options) {
  const found = await ask(session, path, options);
  const pieces = [];
  for await (const piece of found.stream) pieces.push(piece);
  found.text = Buffer.concat(pieces).toString();
  assert.equal(found.head[":status"], 200, `${path}: ${found.text.slice(0, 100)}`);
  return found;
}

async function several(session, count) {
  const one = async () => assert.equal((await page(session, "/")).text.length, 1024);
  for (let at = 0; at < count; at += 50) await Promise.all(Array.from({ length: 50 }, one));
}

const LONG = 100 << 20;

const checks = {
  async head(session) {
    const found = await page(session, "/", { headers: { ":method": "HEAD" } });
    assert.equal(found.text, "");
    assert.equal(found.head["content-length"], "1024");
    for (const name of ["connection", "keep-alive", "transfer-encoding"]) assert.equal(found.head[name], undefined);
  },
  async upload(session) {
    const found = await page(session, "/digest", { headers: { ":method": "POST" }, body: content(LONG) });
    assert.equal(found.text, digest(LONG));
  },
  async download(session) {
    const found = await ask(session, `/long?${LONG}`);
    assert.equal(await digested(found.stream), digest(LONG));
  },
  async trailers(session) {
    const found = await page(session, "/trailers");
    assert.equal(found.text, "body");
    assert.equal(found.trailers?.["x-sum"], "four");
  },
  async "trailers of a request"(session) {
    const found = await page(session, "/told", { headers: { ":method": "POST" }, body: ["body"], trailers: { "x-sum": "four" } });
    assert.deepEqual(JSON.parse(found.text), { "x-sum": "four" });
  },
  async hints(session) {
    const found = await page(session, "/hints");
    assert.equal(found.text, "hinted");
    assert.deepEqual(found.hints, [103]);
  },
  async "many small ones"(session) {
    await several(session, 2000);
  },
  // Answered only when something that is asked for later has been answered.
  async "one that waits"(session) {
    const waiting = page(session, "/held");
    await several(session, 200);
    await page(session, "/release");
    assert.equal((await waiting).text, "released");
  },
  // Not read until others have been answered.
  async "one that is not read"(session) {
    const found = await ask(session, `/long?${LONG / 4}`);
    await several(session, 200);
    assert.equal(await digested(found.stream), digest(LONG / 4));
  },
  async "one that is given up"(session) {
    for (let at = 0; at < 20; at++) {
      const found = await ask(session, `/long?${LONG / 4}`);
      found.stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    await several(session, 50);
  },
  async websocket(session) {
    assert.equal(session.remoteSettings.enableConnectProtocol, true, "no extended CONNECT is offered");
    const headers = { ":method": "CONNECT", ":protocol": "websocket", ":path": "/ws", "sec-websocket-version": "13" };
    const stream = session.request(headers, { endStream: false });
    const [head] = await once(stream, "response");
    assert.equal(head[":status"], 200);
    for (let at = 0; at < 3; at++) {
      // "Hello", masked (RFC 6455 section 5.7).
      stream.write(Buffer.from("818537fa213d7f9f4d5158", "hex"));
      const [heard] = await once(stream, "data");
      assert.equal(heard.toString("hex"), "810548656c6c6f");
    }
    stream.end();
    await once(stream, "close");
  },
};

async function client([origin, authority, ...left]) {
  const more = authority ? { ca: fs.readFileSync(authority), servername: "site.test" } : {};
  const session = http2.connect(origin, { maxSessionMemory: 1000, ...more });
  session.setTimeout(30000, () => session.destroy(new Error("nothing comes")));
  await once(session, "remoteSettings");
  const version = (await page(session, "/")).head["x-version"];
  let count = 0;
  for (const [name, check] of Object.entries(checks)) {
    if (left.includes(name)) continue;
    try {
      await check(session);
    } catch (error) {
      error.message = `${name}: ${error.message}`;
      throw error;
    }
    count += 1;
  }
  session.close();
  console.log(JSON.stringify({ checks: count, version }));
}

await { serve, client }[command](rest);
