"""Serve a fixed table of files to this machine alone: loopback, a secret in the address, nothing read from the disk.

Other programs of this machine cannot guess the address, and other pages of the browser cannot reach it under a name of
their own that leads here (DNS rebinding), as only the names of this machine are answered.
"""

import hmac
import os
import secrets
import socketserver
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from nasoseg.errors import NasosegError

HOST = "127.0.0.1"

_HTTP_PORT = 80  # which a browser leaves out of Host
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src"
    " 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address is a secret
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class ServedFile:
    """Hold one file of the table: what kind it is, and its bytes."""

    content_type: str
    content: bytes


class StudyServer(socketserver.ThreadingTCPServer):
    """Listen on 127.0.0.1, and answer GET and HEAD for the files of a table.

    ``serve_forever`` answers until ``shutdown`` or Ctrl-C. Closed when a ``with`` block ends.

    Args:
        files: By name; the one called ``""`` is the page. Other names are not found, whatever they look like.
        port: 0 takes a free one.

    Attributes:
        files: The table.
        token: The secret in the address, new for every server.

    Raises:
        NasosegError: If the port is no port, in use, or not allowed.
    """

    # Windows would let a second program listen on the same port.
    allow_reuse_address = os.name != "nt"
    daemon_threads = True
    block_on_close = False

    def __init__(self, files: Mapping[str, ServedFile], port: int = 0) -> None:
        self.files = dict(files)
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise NasosegError(
                f"--port {port}: cannot be opened on {HOST} ({getattr(error, 'strerror', None) or error}): expected a"
                " free port of 1024 to 65535: choose another, or leave it out to get a free one"
            ) from error

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page; who knows it can see the study."""
        return f"http://{HOST}:{self.port}/{self.token}/"

    @property
    def hosts(self) -> set[str]:
        """The values of ``Host`` that are answered."""
        names = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        return names | ({HOST, "localhost"} if self.port == _HTTP_PORT else set())

    def find(self, path: str) -> ServedFile | None:
        """Return the file of a request's path; None where there is none or the secret is wrong."""
        given, slash, name = path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(given.encode(errors="replace"), self.token.encode()):
            return None
        return self.files.get(name)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that went away in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answer one connection."""

    server: StudyServer
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a silent connection stays open

    def do_GET(self) -> None:
        """Answer with a file."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer with the headers of a file."""
        self._answer()

    def _answer(self) -> None:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].strip().lower() not in self.server.hosts:
            self._send(HTTPStatus.FORBIDDEN, _text(f"open it as {HOST}"))
            return
        found = self.server.find(self.path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, _text("not here"))
            return
        self._send(HTTPStatus.OK, found)

    def _send(self, status: HTTPStatus, file: ServedFile) -> None:
        if status != HTTPStatus.OK:
            self.close_connection = True  # a body that was sent along is not read as a request
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", file.content_type)
        self.send_header("Content-Length", str(len(file.content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(file.content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server refuses by itself, other methods among it, without repeating what was sent."""
        self._send(HTTPStatus(code), _text(HTTPStatus(code).phrase))

    def version_string(self) -> str:
        """Say what answers, without versions."""
        return "nasoseg"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the lines would hold the secret."""


def _text(words: str) -> ServedFile:
    return ServedFile("text/plain; charset=utf-8", f"{words}\n".encode())
