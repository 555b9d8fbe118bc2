"""Files in memory, served to this computer alone: on loopback, under a secret path, to pages of its own."""

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

from edgekd.errors import UsageError

_ADDRESS = "127.0.0.1"
_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@contextmanager
def serving(files: Mapping[str, bytes], *, port: int = 0, start: str = "") -> Iterator[str]:
    """Serve `files`, by path, until the context ends; give the address of the folder `start`, shown as its index.html.

    Whoever does not know the random first part of the path gets nothing, nor does a page of another site whose name was
    made to point here (its requests name another host).

    Raises:
        UsageError: the port is taken or may not be used.
    """
    token = secrets.token_urlsafe(16)
    try:
        server = ThreadingHTTPServer((_ADDRESS, port), _handler(files, token))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--port {port} cannot be listened on ({reason}); leave it out for a free one.") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{_ADDRESS}:{server.server_port}/{token}/{start}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(files: Mapping[str, bytes], token: str) -> type[BaseHTTPRequestHandler]:
    """The standard library's server takes a class, made anew for every request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server: ThreadingHTTPServer

        def do_GET(self) -> None:
            name = _asked_for(self.path, token)
            here = self.headers.get("Host") == f"{_ADDRESS}:{self.server.server_port}"
            if not here or name is None or name not in files:
                return self._reply(HTTPStatus.NOT_FOUND, "text/plain", b"")
            kind = _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
            self._reply(HTTPStatus.OK, kind, files[name])

        def _reply(self, status: HTTPStatus, kind: str, data: bytes) -> None:
            self.send_response(status)
            for key, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing; the base class writes to stderr."""

    return Handler


def _asked_for(path: str, token: str) -> str | None:
    """The name of the file that a path asks for; None without the secret. Nothing is decoded or made absolute."""
    prefix = f"/{token}/"
    if not secrets.compare_digest(path[: len(prefix)].encode(), prefix.encode()):
        return None
    name = path[len(prefix) :].partition("?")[0]
    return f"{name}{_INDEX}" if name.endswith("/") or not name else name
