"""A model hub of a few lines, with the faults that hubs have."""

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        hub = self.server
        name = self.path.rpartition("/")[2]
        asked = self.headers.get("Range")
        hub.requests.append((self.command, name, asked))
        if hub.silent:
            hub.over.wait(20)
            return
        if hub.status or name not in hub.files:
            self.send_response(hub.status or 404)
            self.send_header("X-Error-Code", "" if hub.status else "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = hub.files[name]
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if hub.is_hub:
            self.send_header("X-Repo-Commit", COMMIT)
        digest = hub.digests.get(name) or hashlib.sha256(content).hexdigest()
        self.send_header("ETag", f'"{digest}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self.send(content[start : hub.ends_at.get(name)])

    def send(self, content):
        self.wfile.write(content)
        self.wfile.flush()
        if self.server.stalls and self.path.rpartition("/")[2] in self.server.ends_at:
            self.server.over.wait(20)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serving(files):
    """A hub that serves these files, whatever the repository, until the block ends."""
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.files, hub.digests, hub.ends_at, hub.requests = dict(files), {}, {}, []
    hub.silent, hub.stalls, hub.status, hub.is_hub = False, False, None, True
    hub.over = threading.Event()
    hub.url = f"http://127.0.0.1:{hub.server_port}"
    threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.over.set()
        hub.shutdown()
        hub.server_close()
