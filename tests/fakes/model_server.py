"""A small OpenAI-compatible model server over real HTTP, with scripted failures.

`python -m tests.fakes.model_server --port N`, or `with ModelServer() as server:` in a test. What it answers depends
on the request alone: a sentence of passage [1] if the prompt holds numbered passages, else the question again, in the
question's language. The name of the model or the API key asks for a failure or an odd reply; see `FAILURES`, `PACES`,
`EARLY_ENDS`, `model_scripts` and `reranking`. What a test has to see unfinished is held (`ModelServer.held`): no pace
is slow enough for every machine.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from tests.fakes.model_scripts import REFUSED_OPTIONS, REPLIES, RESPONSES, STREAMS
from tests.fakes.reranking import PATHS as RERANK_PATHS
from tests.fakes.reranking import RERANKERS, rerank

EMBEDDINGS, CHAT, RESPONSES_PATH = "/v1/embeddings", "/v1/chat/completions", "/v1/responses"
DIMENSION = 64
# Model or key → status, code and message of the refusal.
FAILURES = {
    "wrong": (401, "invalid_api_key", "Incorrect API key provided: wrong."),
    "unknown": (404, "model_not_found", "The model `unknown` does not exist."),
    "rate-limited": (429, "rate_limit_exceeded", "Rate limit reached."),
    "short-texts": (400, "context_length_exceeded", "This model's maximum context length is 512 tokens."),
    "error-500": (500, "internal_error", "The GPU is on fire."),
}
# Model or key → seconds between two tokens.
PACES = {"slow": 0.3, "long": 0.02}
LONG_TOKENS = 400
BROKEN_AFTER_TOKENS = 3
# The model that sends 50 tokens a second after a tenth of one, however busy the server is: see `numbered_tokens`.
PACED = "paced"
PACED_FIRST_SECONDS, PACED_SECONDS = 0.1, 0.02
# Model or key → the number of tokens sent, and the finish reason.
EARLY_ENDS = {"cut-off": (3, "length"), "filtered": (0, "content_filter"), "speechless": (0, "stop")}
SMALL_BATCH = 10  # the largest batch that the model "small-batches" embeds
MODELS = (
    "fake",
    "fake-vl",
    "fake-embedding",
    "silent",
    "murmuring",
    "broken",
    "small-batches",
    *FAILURES,
    *PACES,
    PACED,
    *EARLY_ENDS,
    *STREAMS,
    *REPLIES,
    *REFUSED_OPTIONS,
    *RERANKERS,
)

_HAN = re.compile(r"[\u3400-\u9fff]")
_PASSAGE = re.compile(r"^\s*\[(\d+)\][ \t]*(.*?)(?=^\s*\[\d+\]|\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
_TAG = re.compile(r"\b(q\d+x(\d+))\b")
_TOKEN = re.compile(r"[\u3400-\u9fff]{1,2}|\s*[^\s\u3400-\u9fff]+|\s+")


@dataclass
class Request:
    """A received request. `ended` is set when it is over, `disconnected` if the client left before that."""

    path: str
    key: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # by their names in lower case
    tokens_sent: int = 0
    disconnected: bool = False
    ended: Event = field(default_factory=Event, repr=False)

    @property
    def behaviour(self) -> str:
        """The scripted behaviour: the key if it names one, else the model."""
        return self.key if self.key in MODELS else str(self.body.get("model", ""))


class ModelServer:
    """Serves on 127.0.0.1 from a thread, between `start` and `stop` or inside a `with`."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.closing = Event()
        self.held_paths: set[str] = set()
        self.favourite = ""  # what the passage that reranking puts first holds
        self.streams: dict[str, list[str]] = dict(STREAMS)  # by the model's name; a test may add its own
        self._server = _Server(("127.0.0.1", port), _Handler, bind_and_activate=True)
        self._server.owner = self
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def chats(self) -> list[Request]:
        """The chat requests so far."""
        return [request for request in self.requests if request.path == CHAT]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End all requests, and wait for their threads."""
        self.closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Serve until stopped."""
        self._thread.join()

    @contextmanager
    def held(self, path: str) -> Iterator[None]:
        """Within the block, embedding requests wait and chat answers pause halfway. They continue afterwards."""
        self.held_paths.add(path)
        try:
            yield
        finally:
            self.held_paths.discard(path)

    def __enter__(self) -> ModelServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64
    owner: ModelServer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: set[socket.socket] = set()

    def hang_up(self) -> None:
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # already closed

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may disconnect between two requests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """Log nothing: tests read `requests`."""

    def do_GET(self) -> None:
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if key in FAILURES:
            self._send_error(*FAILURES[key])
        elif self.path == "/v1/models":
            self._send_json({"object": "list", "data": [{"id": name, "object": "model"} for name in self._models]})
        else:
            self._send_error(404, "not_found", "Not Found")

    @property
    def _models(self) -> list[str]:
        return [*MODELS, *(name for name in self.server.owner.streams if name not in MODELS)]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        request = Request(self.path, key, body, {name.lower(): value for name, value in self.headers.items()})
        self.server.owner.requests.append(request)
        try:
            self._answer(request)
        except (BrokenPipeError, ConnectionResetError):
            request.disconnected = True
            self.close_connection = True
        finally:
            request.ended.set()

    def _answer(self, request: Request) -> None:
        if request.behaviour in FAILURES:
            self._send_error(*FAILURES[request.behaviour])
        elif request.behaviour == "silent":
            while self._pause(request, 0.05):
                pass
            self.close_connection = True
        elif request.behaviour == "murmuring":  # keeps the connection, and says nothing
            self._begin_stream()
            while self._pause(request, 0.05):
                self._send_chunk(": PROCESSING\n\n")
                self._send_event(request, {"content": ""})
            self.close_connection = True
        elif self.path == EMBEDDINGS:
            self._embed(request)
        elif self.path in RERANK_PATHS:
            status, reply = rerank(self.path, request.behaviour, request.body, self.server.owner.favourite)
            self._send_json(reply, status)
        elif self.path == RESPONSES_PATH and request.behaviour in RESPONSES:
            self._play(RESPONSES[request.behaviour], request)
        elif self.path == CHAT and (refusal := _refused_option(request)):
            status, body = refusal
            self._send_json(body, status)
        elif self.path == CHAT and request.behaviour in REPLIES:
            status, content_type, text = REPLIES[request.behaviour]
            self._send(status, content_type, text.encode())
        elif self.path == CHAT and request.behaviour in self.server.owner.streams:
            self._play(self.server.owner.streams[request.behaviour], request)
        elif self.path == CHAT:
            self._chat(request)
        else:
            self._send_error(404, "not_found", "Not Found")

    def _embed(self, request: Request) -> None:
        texts = request.body["input"] if isinstance(request.body["input"], list) else [request.body["input"]]
        if request.behaviour == "small-batches" and len(texts) > SMALL_BATCH:
            self._send_error(
                400, "invalid_request", f"batch size is invalid, it should not be larger than {SMALL_BATCH}"
            )
            return
        if not self._wait_while_held(request):
            self.close_connection = True
            return
        as_base64 = request.body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _encode(embed(text)) if as_base64 else embed(text)}
            for index, text in enumerate(texts)
        ]
        self._send_json(
            {"object": "list", "model": request.body["model"], "data": data, "usage": _usage(len(texts), 0)}
        )

    def _chat(self, request: Request) -> None:
        tokens = [f"word{number} " for number in range(LONG_TOKENS)]
        if request.behaviour == PACED:
            tokens = numbered_tokens(_last_question(request.body["messages"]))
        elif request.behaviour != "long":
            tokens = _TOKEN.findall(answer(request.body["messages"]))
        if request.body.get("stream"):
            self._stream(request, tokens)
            return
        for _ in tokens:
            if not self._pause(request, PACES.get(request.behaviour, 0)):
                return
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(tokens)}}
        self._send_json(_completion(request, "chat.completion", [choice]) | {"usage": _usage(1, len(tokens))})

    def _play(self, events: list[str], request: Request) -> None:
        """Send the events one by one, then close the connection normally."""
        self._begin_stream()
        for number, event in enumerate(events):
            if number >= len(events) // 2 and not self._wait_while_held(request):
                self.close_connection = True
                return
            self._send_chunk(event)
        self._send_chunk("")

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _stream(self, request: Request, tokens: list[str]) -> None:
        began = time.monotonic()
        self._begin_stream()
        self._send_event(request, {"role": "assistant", "content": ""})
        count, reason = EARLY_ENDS.get(request.behaviour, (len(tokens), "stop"))
        for token in tokens[:count]:
            may_go_on = request.tokens_sent < len(tokens) // 2 or self._wait_while_held(request)
            seconds = PACES.get(request.behaviour, 0)
            if request.behaviour == PACED:
                due = began + PACED_FIRST_SECONDS + PACED_SECONDS * request.tokens_sent
                seconds = max(0, due - time.monotonic())
            if not (may_go_on and self._pause(request, seconds)):
                self.close_connection = True
                return
            if request.behaviour == "broken" and request.tokens_sent == BROKEN_AFTER_TOKENS:
                self.close_connection = True  # within the body, without a final chunk
                return
            self._send_event(request, {"content": token})
            request.tokens_sent += 1
        self._send_event(request, {}, finish=reason)
        if (request.body.get("stream_options") or {}).get("include_usage"):
            last = _completion(request, "chat.completion.chunk", []) | {"usage": _usage(1, len(tokens))}
            self._send_chunk(f"data: {json.dumps(last)}\n\n")
        self._send_chunk("data: [DONE]\n\n")
        self._send_chunk("")

    def _pause(self, request: Request, seconds: float) -> bool:
        """Wait. False if the client has disconnected (recorded) or the server is closing."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            request.disconnected = not self.server.owner.closing.is_set()
            return False
        return not self.server.owner.closing.wait(seconds)

    def _wait_while_held(self, request: Request) -> bool:
        """Send. False as for `_pause`."""
        while request.path in self.server.owner.held_paths:
            if not self._pause(request, 0.02):
                return False
        return True

    def _send_event(self, request: Request, delta: dict[str, str], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self._send_chunk(f"data: {json.dumps(_completion(request, 'chat.completion.chunk', [choice]))}\n\n")

    def _send_chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _send_error(self, status: int, code: str, message: str) -> None:
        self._send_json({"error": {"message": message, "type": "error", "param": None, "code": code}}, status)

    def _send_json(self, value: object, status: int = 200) -> None:
        self._send(status, "application/json", json.dumps(value, ensure_ascii=False).encode())

    def _send(self, status: int, content_type: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _refused_option(request: Request) -> tuple[int, dict[str, Any]] | None:
    refusals = REFUSED_OPTIONS.get(request.behaviour, {})
    return next((refusal for name, refusal in refusals.items() if name in request.body), None)


def answer(messages: list[dict[str, Any]]) -> str:
    """The answer, which depends on the messages only."""
    texts = [_text(message) for message in messages]
    asked = _last_question(messages)
    passages = {number: text for each in texts for number, text in _PASSAGE.findall(each)}
    question = _PASSAGE.sub("", asked).strip().splitlines()
    question_line = question[-1] if question else asked
    chinese = bool(_HAN.search(question_line))
    if "1" in passages:
        sentence = _first_sentence(passages["1"])
        return f"根据资料，{sentence} [1]。" if chinese else f"According to the passages, {sentence} [1]."
    return f"你问的是：{question_line}" if chinese else f"You asked: {question_line}"


def numbered_tokens(question: str) -> list[str]:
    """What the paced model says: for a question with a word such as `q17x400`, that word's 400 numbered tokens."""
    tag, count = (_TAG.findall(question) or [("q0x10", "10")])[-1]
    return [f"{tag}-{number} " for number in range(int(count))]


def embed(text: str) -> list[float]:
    """A normalised, hashed bag of words: texts with common words have close vectors."""
    vector = [0.0] * DIMENSION
    for word in re.findall(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+", text.lower()) or [text]:
        digest = hashlib.blake2b(word.encode(), digest_size=2).digest()
        vector[digest[0] % DIMENSION] += 1.0 if digest[1] & 1 else -1.0
    length = sum(value * value for value in vector) ** 0.5 or 1.0
    return [value / length for value in vector]


def _last_question(messages: list[dict[str, Any]]) -> str:
    return next((_text(message) for message in reversed(messages) if message["role"] == "user"), "")


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _first_sentence(passage: str) -> str:
    """The first sentence of a passage's last line; earlier lines are its title and place."""
    lines = [line.strip() for line in passage.strip().splitlines() if line.strip()]
    return re.split(r"(?<=[.!?])\s|[。！？]", lines[-1])[0].rstrip(".!?") if lines else ""


def _encode(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(request: Request, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "fake", "object": kind, "created": 0, "model": request.body["model"], "choices": choices}


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible model server for tests.")
    parser.add_argument("--port", type=int, default=0)
    with ModelServer(parser.parse_args().port) as server:
        print(server.base_url, flush=True)
        with suppress(KeyboardInterrupt):
            server.wait()


if __name__ == "__main__":
    main()
