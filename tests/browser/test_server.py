"""What the loopback server gives, and to whom."""

import http.client
import socket
from urllib.parse import urlsplit

import pytest

from edgekd.browser.server import serving
from edgekd.errors import UsageError

FILES = {"index.html": b"<p>page", "artifact/model.onnx": b"\x08\x09", "ort/a.mjs": b"1"}


def ask(address: str, path: str, *, method: str = "GET", host: str | None = None) -> http.client.HTTPResponse:
    """One request, whose path is sent as it is."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or parts.netloc)
    connection.endheaders()
    return connection.getresponse()


def test_the_files_under_the_secret_path_and_their_types() -> None:
    with serving(FILES) as address:
        base = urlsplit(address).path
        assert address.startswith("http://127.0.0.1:") and len(base) >= 22
        found = {name: ask(address, base + name) for name in ("", *FILES)}
        bodies = {name: reply.read() for name, reply in found.items()}
        types = {name: reply.getheader("Content-Type") for name, reply in found.items()}
    assert bodies == {"": FILES["index.html"], **FILES}
    assert types["ort/a.mjs"] == "text/javascript; charset=utf-8"
    assert types["artifact/model.onnx"] == "application/octet-stream"


def test_a_folder_is_shown_as_its_index() -> None:
    with serving({"a/b/index.html": b"<p>page", "c": b"1"}, start="a/b/") as address:
        path = urlsplit(address).path
        assert path.endswith("/a/b/") and ask(address, path).read() == b"<p>page"
        assert ask(address, path.removesuffix("a/b/") + "c").read() == b"1"


def test_nothing_else_is_there() -> None:
    with serving(FILES) as address:
        base = urlsplit(address).path
        wrong = base[:-2] + ("A" if base[-2] != "A" else "B") + "/"
        paths = ("/", "/index.html", base[:-1], wrong, f"{base}other", f"{base}artifact/", f"{base}../index.html")
        paths += (f"{base}artifact/../../../etc/passwd", f"{base}%69ndex.html", f"{base}/etc/passwd", f"/x{base}", "*")
        assert {path: ask(address, path).status for path in paths} == dict.fromkeys(paths, 404)
        assert {
            method: ask(address, base, method=method).status for method in ("POST", "PUT", "DELETE", "OPTIONS")
        } == {
            "POST": 501,
            "PUT": 501,
            "DELETE": 501,
            "OPTIONS": 501,
        }


def test_a_name_that_was_made_to_point_here_gets_nothing() -> None:
    with serving(FILES) as address:
        parts = urlsplit(address)
        for host in ("evil.example", f"evil.example:{parts.port}", "127.0.0.1", f"localhost:{parts.port}"):
            assert ask(address, parts.path, host=host).status == 404, host


def test_every_reply_restricts_what_a_page_may_do() -> None:
    with serving(FILES) as address:
        for path in (urlsplit(address).path, "/"):
            reply = ask(address, path)
            policy = dict(part.split(" ", 1) for part in (reply.getheader("Content-Security-Policy") or "").split("; "))
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
            assert reply.getheader("X-Content-Type-Options") == "nosniff"
            assert reply.getheader("Cross-Origin-Resource-Policy") == "same-origin"
            assert reply.getheader("Access-Control-Allow-Origin") is None


def test_each_time_another_secret_and_an_end() -> None:
    with serving(FILES) as first, serving(FILES) as second:
        assert urlsplit(first).path != urlsplit(second).path
        assert ask(second, urlsplit(first).path).status == 404
    with pytest.raises(ConnectionRefusedError):
        ask(first, "/")


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(UsageError, match=rf"--port {port} cannot be listened on \(.*\); leave it out"),
            serving(FILES, port=port),
        ):
            pass
