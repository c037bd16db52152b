"""HTTP requests without redirects, whose wait for a reply is bounded as a whole.

The timeout of a socket bounds the wait for the next byte. A server that sends its headers byte by
byte would hold a request for hours.
"""

import http.client
import socket
import threading
import urllib.request
from contextlib import suppress
from typing import Any


class _TimedReply(http.client.HTTPConnection):
    """Connection that ends the wait for the headers of a reply after its timeout."""

    def getresponse(self) -> http.client.HTTPResponse:
        """The reply.

        Raises:
            TimeoutError: Its headers were not complete in time.
        """
        is_late, open_socket = threading.Event(), self.sock

        def end_wait() -> None:
            is_late.set()
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(float(self.timeout or 0), end_wait)
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()
            if is_late.is_set():
                raise TimeoutError


class _TimedHttps(_TimedReply, http.client.HTTPSConnection):
    """The same with TLS."""


class _TimedHandler(urllib.request.HTTPHandler):
    """Opens addresses of http."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Reply to a request."""
        return self.do_open(_TimedReply, req)


class _TimedTlsHandler(urllib.request.HTTPSHandler):
    """Opens addresses of https."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Reply to a request."""
        return self.do_open(_TimedHttps, req)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are refused: texts and key go to the configured address only."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        """No request."""


def timed_opener() -> urllib.request.OpenerDirector:
    """Opener of http and https addresses; the timeout of a request bounds the wait for headers."""
    return urllib.request.build_opener(_TimedHandler, _TimedTlsHandler, _NoRedirects)
