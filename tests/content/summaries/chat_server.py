"""Small server that speaks ``POST /v1/chat/completions``, as a process of its own.

Usage: ``python chat_server.py LOG`` prints its port. The text of the request decides on the reply.
"""

import json
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

failures = {"FLAKY": 2}


class Handler(BaseHTTPRequestHandler):
    """Replies with a summary, an error, or something else, as the text asks."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][1]["content"]
        request = {
            "path": self.path,
            "key": self.headers.get("Authorization"),
            "model": body["model"],
            "text": text,
        }
        with Path(sys.argv[1]).open("a", encoding="utf-8") as log_file:
            log_file.write(json.dumps(request) + "\n")
        if "FLAKY" in text and failures["FLAKY"]:
            failures["FLAKY"] -= 1
            self.reply(503, "busy")
        elif "DENIED" in text:
            self.reply(401, "who are you")
        elif "ELSEWHERE" in text:
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        elif "DRIP" in text:  # headers without an end
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            with suppress(OSError):
                for _ in range(200):
                    self.wfile.write(b"a")
                    time.sleep(0.1)
        elif "BROKEN" in text:
            self.reply(200, json.dumps({"choices": [{"message": {"content": "no JSON"}}]}))
        else:
            self.reply(200, json.dumps({"choices": [{"message": {"content": message(text)}}]}))

    def reply(self, status: int, content: str) -> None:
        encoded = content.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: object) -> None:
        """Nothing is printed but the port."""


def message(text: str) -> str:
    """Reply of the model: invented facts if the text says so."""
    summary = "Anna Berg roasts coffee."
    if "INVENT" in text:
        summary = "Anna Berg roasted 900 tons in Paris."
    if "HALF" in text:
        summary = "Anna\ud83d Berg\x00 <b>roasts</b>\u202e coffee."
    attributes = {"roast": "dark", "origin": "Peru", "secret": "x"}
    reply = json.dumps({"summary": summary, "attributes": attributes})
    return f"```json\n{reply}\n```"


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)  # noqa: T201
    server.serve_forever()
