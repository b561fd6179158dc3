"""Servers on loopback on which tests keep files: one of S3, and ones of the web; each counts what it sends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from unittest.mock import patch
from urllib.request import urlopen


class Request(NamedTuple):
    """One that a server answered. size: bytes of the answer's body."""

    method: str
    path: str
    size: int


class Store:
    """A server. url: what its files' addresses begin with. requests: those that it has answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.refuse: Callable[[str, str], bool] = lambda method, path: False
        """Whether a request, by its method and path with query, is answered with status 403."""

    @property
    def sent(self) -> int:
        """Bytes of the bodies of all answers."""
        return sum(request.size for request in self.requests)


@contextmanager
def s3_store(bucket: str = "photos") -> Iterator[Store]:
    """moto's server with a bucket, which s3fs finds by the environment."""
    import fsspec
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *_: Any) -> None:
            pass

    store = Store(f"s3://{bucket}")
    application = DomainDispatcherApplication(create_backend_app)

    def counted(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method = environment["REQUEST_METHOD"]
        path = f"{environment['PATH_INFO']}?{environment.get('QUERY_STRING', '')}".removesuffix("?")
        if store.refuse(method, path):
            start("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        body = b"".join(application(environment, start))
        store.requests.append(Request(method, path, 0 if method == "HEAD" else len(body)))
        return [body]

    server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = {
        "AWS_ACCESS_KEY_ID": "KEYOFTESTS",
        "AWS_SECRET_ACCESS_KEY": "SECRETOFTESTS",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }
    system = fsspec.get_filesystem_class("s3")
    try:
        with patch.dict(os.environ, settings):
            system.clear_instance_cache()
            urlopen(f"{settings['AWS_ENDPOINT_URL']}/moto-api/reset", b"").close()  # what another server held
            system().mkdir(bucket)
            yield store
    finally:
        system.clear_instance_cache()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def web_store(files: dict[str, bytes], ranges: bool = True, sizes: bool = True) -> Iterator[Store]:
    """A server of the web. files: by their paths. ranges: whether it sends parts of files. sizes: whether it says how
    long files are."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            data = files.get(path)
            if data is None or store.refuse(self.command, self.path):
                self.send_response(404 if data is None else 403)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            part, asked = data, self.headers.get("Range")
            if ranges and asked is not None:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                part = data[int(first) : int(last) + 1 if last else len(data)]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
            else:
                self.send_response(200)
            if ranges:
                self.send_header("Accept-Ranges", "bytes")
            if sizes:
                self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if with_body:
                self.wfile.write(part)
            store.requests.append(Request(self.command, self.path, len(part) if with_body else 0))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store = Store(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
