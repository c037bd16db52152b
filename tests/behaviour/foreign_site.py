"""A website that attacks servers on 127.0.0.1 through the browser of whoever looks at it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from selenium.webdriver import Chrome

PAGE = b"""<!doctype html><title>harmless</title><p>Cats</p>"""

ATTACK = """
const [reads, writes, sockets, done] = arguments;
const found = [];
const within = (ms, promise) =>
  Promise.race([promise, new Promise((_, no) => setTimeout(() => no(new Error("late")), ms))]);
const attempt = async (name, action) => {
  try { if (await within(10000, action())) found.push(name); } catch (error) { /* refused */ }
};
const opens = (url, protocol) => new Promise((yes, no) => {
  const socket = new WebSocket(url, protocol);
  socket.onopen = () => yes(true);
  socket.onerror = () => no(new Error("refused"));
});
const shows = (tag, url) => new Promise((yes, no) => {
  const element = document.createElement(tag);
  element.onload = () => yes(true);
  element.onerror = () => no(new Error("refused"));
  element.src = url;
  document.body.append(element);
});
(async () => {
  for (const url of reads) {
    await attempt(`read ${url}`, async () => (await fetch(url)).status);
    await attempt(`script ${url}`, () => shows("script", url));
  }
  for (const [url, body] of writes) {
    const json = {method: "POST", headers: {"Content-Type": "application/json"}, body};
    await attempt(`write ${url}`, async () => (await fetch(url, json)).status);
    for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
      const simple = {method: "POST", mode: "no-cors", headers: {"Content-Type": type}, body};
      await attempt("", async () => { await fetch(url, simple); return false; });
    }
    await attempt("", async () => {
      await fetch(url, {method: "POST", mode: "no-cors", body: new Blob([body])}); return false;
    });
    const frame = document.createElement("iframe");
    frame.name = `frame${Math.random()}`;
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", enctype: "text/plain", action: url, target: frame.name});
    const field = document.createElement("input");  // sent as NAME=VALUE: one JSON document
    [field.name, field.value] = [body.slice(0, -1) + ', "pad": "', '"}'];
    form.append(field);
    document.body.append(frame, form);
    const answered = new Promise((yes) => { frame.onload = () => yes(false); });
    form.submit();
    await attempt("", () => answered);
  }
  for (const url of sockets)
    for (const protocol of [[], ["prefect"]])
      await attempt(`socket ${url}`, () => opens(url, protocol));
  done(found);
})();
"""
"""Reports what could be read or opened; whether something was written the servers have to say."""


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def foreign_site() -> Iterator[int]:
    """The port of a website on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def attack(
    browser: Chrome, *, reads: list[str], writes: list[tuple[str, Any]], sockets: list[str]
) -> list[str]:
    """What a page that is open could read or connect to, by kind and address."""
    bodies = [(url, json.dumps(body)) for url, body in writes]
    browser.set_script_timeout(240)
    found: list[str] = browser.execute_async_script(ATTACK, reads, bodies, sockets)
    return found
