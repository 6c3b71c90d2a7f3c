"""A gRPC server and a client in Python (grpcio): the service and the calls of the ones in Go, so that each can talk to the
other. `serve HOST:PORT NAME` or `kinds HOST:PORT`."""

import concurrent.futures
import hashlib
import json
import signal
import sys
import threading
import time

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

SERVICE = "weir.peers.Echo"
LARGE = 4 * 1024 * 1024 - 64
OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.enable_retries", 0), ("grpc.so_reuseport", 0)]


def pattern(size):
    return bytes((at * 7 // 3) & 255 for at in range(768)) * (size // 768) + bytes(
        (at * 7 // 3) & 255 for at in range(size % 768)
    )


class Echo(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name, self.seen = name, {}
        one, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        self.methods = {
            "Unary": one(self.unary),
            "Fail": one(self.fail),
            "Tell": one(lambda message, _: self.seen.get(message, b"")),
            "Hang": many(self.hang),
            "Pour": many(self.pour),
            "Down": many(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(lambda messages, _: messages),
        }

    def service(self, call):
        service, _, method = call.method.lstrip("/").partition("/")
        return self.methods.get(method) if service == SERVICE else None

    def unary(self, message, context):
        asked = context.invocation_metadata()
        answers = [("x-answer", value) for key, value in asked if key == "x-ask"]
        context.send_initial_metadata([("x-backend", self.name), *answers])
        context.set_trailing_metadata([("x-trailer-bin", value) for key, value in asked if key == "x-ask-bin"])
        return message

    def fail(self, _, context):
        details = any_pb2.Any()
        details.Pack(error_details_pb2.ErrorInfo(reason="PEERS", domain=self.name))
        message = f"ungültig: 100 %\nfrom {self.name}"
        code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
        context.abort_with_status(
            rpc_status.to_status(status_pb2.Status(code=code, message=message, details=[details]))
        )

    def hang(self, name, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        if gone.wait(60):
            self.seen[name] = b"gone"
        yield from ()

    def pour(self, name, context):
        context.add_callback(lambda: self.seen.__setitem__(name, b"gone"))
        while context.is_active():
            yield name

    def down(self, asked, _):
        count, size = map(int, asked.split())
        message = pattern(size)
        for _ in range(count):
            yield message

    def up(self, messages, _):
        count, length, digest = 0, 0, hashlib.sha256()
        for message in messages:
            count, length = count + 1, length + len(message)
            digest.update(message)
        return f"{count} {length} {digest.hexdigest()}".encode()


def serve(address, name):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), options=OPTIONS)
    server.add_generic_rpc_handlers([Echo(name)])
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    answers = health_pb2.HealthCheckResponse
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGUSR1, lambda *_: checks.set("", answers.NOT_SERVING))
    signal.signal(signal.SIGUSR2, lambda *_: checks.set("", answers.SERVING))
    checks.set("", answers.SERVING)
    if not server.add_insecure_port(address):
        sys.exit(f"{address} is taken")
    server.start()
    ended.wait()
    server.stop(10).wait()


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Calls:
    def __init__(self, channel):
        method = lambda name: f"/{SERVICE}/{name}"
        self.unary = channel.unary_unary(method("Unary"))
        self.failing = channel.unary_unary(method("Fail"))
        self.missing = channel.unary_unary(method("Nothing"))
        self.tell = channel.unary_unary(method("Tell"))
        self.hanging = channel.unary_stream(method("Hang"))
        self.pouring = channel.unary_stream(method("Pour"))
        self.downward = channel.unary_stream(method("Down"))
        self.upward = channel.stream_unary(method("Up"))
        self.mutual = channel.stream_stream(method("Both"))

    def metadata(self):
        binary = bytes([0, 1, 2, 255, 254, 10, 44])
        asked = (("x-ask", "one, two"), ("x-ask", "three"), ("x-ask-bin", binary))
        answer, call = self.unary.with_call(b"hello", metadata=asked, timeout=20)
        expect(answer == b"hello", f"{answer} came back")
        header = ", ".join(value for key, value in call.initial_metadata() if key == "x-answer")
        expect(header == "one, two, three", f"the header has {header!r}")
        trailer = [value for key, value in call.trailing_metadata() if key == "x-trailer-bin"]
        expect(trailer == [binary], f"the trailer has {trailer}")
        expect(self.unary(b"", timeout=20) == b"", "something came back for nothing")

    def large(self):
        message = pattern(LARGE)
        for _ in range(4):
            expect(self.unary(message, timeout=20) == message, "other bytes came back")

    def down(self):
        expected, count = pattern(1 << 20), 0
        for message in self.downward(b"24 1048576", timeout=30):
            if count < 5:
                time.sleep(0.05)
            expect(message == expected, f"message {count} is another one")
            count += 1
        expect(count == 24, f"{count} messages came")

    def up(self):
        messages = [pattern(at * 331) for at in range(200)]
        whole = b"".join(messages)
        answer = self.upward(iter(messages), timeout=20)
        expect(answer == f"200 {len(whole)} {hashlib.sha256(whole).hexdigest()}".encode(), f"{answer} came back")

    def both(self):
        """Waits for each message before the next one."""
        heard = threading.Semaphore(1)

        def say():
            for at in range(100):
                heard.acquire()
                yield b"message %d" % at

        for at, answer in enumerate(self.mutual(say(), timeout=20)):
            expect(answer == b"message %d" % at, f"{answer} came")
            heard.release()
        expect(at == 99, f"{at + 1} messages came")

    def status_of(self, work):
        try:
            work()
        except grpc.RpcError as error:
            return error
        raise AssertionError("no error came")

    def fail(self):
        error = self.status_of(lambda: self.failing(b"", timeout=20))
        expect(error.code() is grpc.StatusCode.INVALID_ARGUMENT, f"the status is {error}")
        expect(error.details().startswith("ungültig: 100 %\nfrom "), f"the message is {error.details()!r}")
        info = error_details_pb2.ErrorInfo()
        details = rpc_status.from_call(error).details
        expect(len(details) == 1 and details[0].Unpack(info) and info.reason == "PEERS", f"details: {details}")

    def hang(self):
        call = self.hanging(b"python-hang", timeout=20)
        threading.Timer(0.3, call.cancel).start()
        error = self.status_of(lambda: next(call))
        expect(error.code() is grpc.StatusCode.CANCELLED, f"the status is {error}")
        self.told(b"python-hang")

    def pour(self):
        call = self.pouring(b"python-pour", timeout=20)
        for _ in range(100):
            expect(next(call) == b"python-pour", "another message came")
        call.cancel()
        self.told(b"python-pour")

    def late(self):
        error = self.status_of(lambda: next(self.hanging(b"python-late", timeout=0.4)))
        expect(error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, f"the status is {error}")
        self.told(b"python-late")

    def told(self, name):
        for _ in range(100):
            if self.tell(name, timeout=20):
                return
            time.sleep(0.05)
        raise AssertionError("the server does not learn that its client has gone")

    def nothing(self):
        error = self.status_of(lambda: self.missing(b"", timeout=20))
        expect(error.code() is grpc.StatusCode.UNIMPLEMENTED, f"the status is {error}")


def kinds(target):
    with grpc.insecure_channel(target, options=OPTIONS) as channel:
        calls = Calls(channel)
        steps = ["metadata", "large", "down", "up", "both", "fail", "hang", "pour", "late", "nothing"]
        for step in steps:
            try:
                getattr(calls, step)()
            except (AssertionError, grpc.RpcError) as error:
                sys.exit(f"{step}: {error}")
    print(json.dumps({"kinds": len(steps)}))


{"serve": serve, "kinds": kinds}[sys.argv[1]](*sys.argv[2:])
