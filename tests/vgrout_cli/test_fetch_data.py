"""`vgrout data fetch` against a real HTTP server on the loopback that can break off and that knows ranges."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vgrout.errors import UserError
from vgrout_cli.commands.data_fetch import fetch
from vgrout_cli.main import main

DATA = b"".join(b'{"id": %d, "text": "%s"}\n' % (i, b"x" * 50) for i in range(200))
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `data`; sends at most `cut` bytes of an answer and closes; records what it was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.cut, self.etag, self.asked = DATA, None, '"v1"', []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/train.jsonl"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.path != "/train.jsonl":
            self.send_error(404)
            return
        start = 0
        if wanted and self.headers.get("If-Range") == self.server.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        body = self.server.data[start:]
        self.send_response(206 if start else 200)
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def test_url(server, tmp_path, capsys):
    dest = tmp_path / "d" / "train.jsonl"
    assert main(["data", "fetch", server.url, str(dest), "--sha256", DIGEST]) == 0
    assert dest.read_bytes() == DATA and DIGEST in capsys.readouterr().out
    assert files(dest.parent) == ["train.jsonl", "train.jsonl.sha256"]
    assert main(["data", "fetch", server.url, str(dest), "--sha256", DIGEST]) == 0  # already there: no second download
    assert len(server.asked) == 1


def test_path(tmp_path):
    (tmp_path / "source.jsonl").write_bytes(DATA)
    assert fetch(str(tmp_path / "source.jsonl"), tmp_path / "copy.jsonl", None) == DIGEST
    assert (tmp_path / "copy.jsonl.sha256").read_text() == f"{DIGEST}  copy.jsonl\n"


def test_a_torn_download_goes_on_where_it_stopped(server, tmp_path):
    dest = tmp_path / "train.jsonl"
    server.cut = 5000
    with pytest.raises(UserError, match="run it again"):
        fetch(server.url, dest, DIGEST)
    assert not dest.exists()
    server.cut = None
    assert fetch(server.url, dest, DIGEST) == DIGEST
    assert server.asked == [None, "bytes=5000-"]
    assert dest.read_bytes() == DATA


@pytest.mark.parametrize("etag", ['"v2"', ""])
def test_a_part_of_another_file_is_not_continued(server, tmp_path, etag):
    dest = tmp_path / "train.jsonl"
    server.cut, server.etag = 5000, '"v1"' if etag else ""
    with pytest.raises(UserError):
        fetch(server.url, dest, None)
    server.cut, server.etag, server.data = None, etag, DATA.replace(b"x", b"y")
    fetch(server.url, dest, None)
    assert dest.read_bytes() == DATA.replace(b"x", b"y")


def test_a_wrong_digest_leaves_nothing(server, tmp_path):
    with pytest.raises(UserError, match="nothing was kept"):
        fetch(server.url, tmp_path / "train.jsonl", "0" * 64)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "said"), [(b'{"id": 1}\n{"id', "invalid JSON"), (b'{"id": 1}', "without its end"), (b"", "0 lines")]
)
def test_what_is_no_whole_json_lines_file_is_refused(server, tmp_path, data, said):
    server.data = data
    with pytest.raises(UserError, match=said):
        fetch(server.url, tmp_path / "train.jsonl", None)
    assert not (tmp_path / "train.jsonl").exists()


def test_an_existing_other_file_is_refused(server, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(UserError, match="existing file"):
        fetch(server.url, tmp_path / "train.jsonl", DIGEST)
    assert (tmp_path / "train.jsonl").read_text() == '{"mine": 1}\n' and server.asked == []


def test_what_cannot_be_reached_is_one_message(server, tmp_path, capsys):
    for source in (server.url + "x", "http://127.0.0.1:9/none.jsonl", str(tmp_path / "none.jsonl")):
        assert main(["data", "fetch", source, str(tmp_path / "train.jsonl")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["data", "fetch", server.url, str(tmp_path / "a"), "--sha256", "abc"]) == 2
