"""Downloads against a local server: resumed, refused when wrong, never silent."""

import builtins
import hashlib
import http.server
import threading
from contextlib import contextmanager
from typing import ClassVar

import pytest

from etalambda.lab import cli
from etalambda.lab.data import DataError, load
from etalambda.lab.data import fetch as module
from etalambda.lab.data.fetch import Remote, download, fetch

BODY = bytes(range(256)) * 2000  # half a megabyte
MD5 = hashlib.md5(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`; breaks off after `most` bytes of an answer; may ignore Range."""

    files: ClassVar[dict] = {}
    most = None
    ranges = True
    asked: ClassVar[list] = []

    def do_GET(self):
        kind = type(self)
        wish = self.headers.get("Range")
        kind.asked.append(wish)
        body = kind.files.get(self.path)
        if body is None:
            return self.send_error(404)
        start = int(wish.removeprefix("bytes=").removesuffix("-")) if wish and kind.ranges else 0
        if start and start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: kind.most])
        return None

    def log_message(self, *args):
        pass


@contextmanager
def serving(files, most=None, ranges=True):
    kind = type("One", (Server,), dict(files=files, most=most, ranges=ranges, asked=[]))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kind
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_file_comes_whole_and_tells_its_progress(tmp_path):
    seen = []
    with serving({"/f": BODY}) as (url, kind):
        path = download(
            f"{url}/f", tmp_path / "f", md5=MD5, progress=lambda *said: seen.append(said)
        )
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY), "f")
    assert kind.asked == [None]
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_what_broke_off_goes_on_where_it_was(tmp_path):
    part = tmp_path / "f.part"
    with serving({"/f": BODY}, most=200_000) as (url, kind):
        path = download(f"{url}/f", tmp_path / "f", md5=MD5)  # three answers of at most 200 kB
        assert kind.asked == [None, "bytes=200000-", "bytes=400000-"]
        assert path.read_bytes() == BODY
        path.unlink()
        kind.most = 1000
        with pytest.raises(
            DataError, match=r"broke off \(3000 of 512000 bytes\); 3000 bytes are kept"
        ):
            download(f"{url}/f", path, md5=MD5)
        assert part.read_bytes() == BODY[:3000]
        kind.most = None
        assert download(f"{url}/f", path, md5=MD5).read_bytes() == BODY
        assert kind.asked[-1] == "bytes=3000-"


def test_a_server_without_ranges_sends_all_again(tmp_path):
    (tmp_path / "f.part").write_bytes(b"something else")
    with serving({"/f": BODY}, ranges=False) as (url, _):
        assert download(f"{url}/f", tmp_path / "f", md5=MD5).read_bytes() == BODY


def test_a_part_that_is_whole_already_is_taken(tmp_path):
    (tmp_path / "f.part").write_bytes(BODY)
    with serving({"/f": BODY}) as (url, kind):
        assert download(f"{url}/f", tmp_path / "f", md5=MD5).read_bytes() == BODY
        assert kind.asked == [f"bytes={len(BODY)}-"]


@pytest.mark.parametrize("kept", [b"", b"wrong start"])
def test_a_wrong_sum_keeps_nothing(tmp_path, kept):
    (tmp_path / "f.part").write_bytes(kept)
    wrong = f"has MD5 .*, expected {MD5}; nothing of it was kept"
    with serving({"/f": BODY[:-1] + b"!"}) as (url, _), pytest.raises(DataError, match=wrong):
        download(f"{url}/f", tmp_path / "f", md5=MD5)
    assert list(tmp_path.iterdir()) == []


def test_refusals_are_named(tmp_path):
    with serving({}) as (url, _), pytest.raises(DataError, match="the server says 404"):
        download(f"{url}/f", tmp_path / "f", md5=MD5)
    with pytest.raises(DataError, match="broke off"):
        download(f"{url}/f", tmp_path / "f", md5=MD5)  # nobody listens there any more
    for address in ("file:///etc/passwd", "ftp://x/f"):
        with pytest.raises(ValueError, match="must begin with http"):
            download(address, tmp_path / "f", md5=MD5)


def test_a_full_disk_is_named_and_keeps_what_came(tmp_path, monkeypatch):
    with serving({"/f": BODY}) as (url, _):
        monkeypatch.setattr(builtins, "open", full_file(open))
        with pytest.raises(DataError, match=r"f.part: No space left on device; free space"):
            download(f"{url}/f", tmp_path / "f", md5=MD5)


def full_file(real):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, block):
            raise OSError(28, "No space left on device")

    def opened(path, mode="r", *args, **kwargs):
        file = real(path, mode, *args, **kwargs)
        return Full(file) if str(path).endswith(".part") and mode == "wb" else file

    return opened


@pytest.fixture
def small_ptb(monkeypatch):
    texts = {f"ptb.{part}.txt": f"{part} a b\n".encode() for part in ("train", "valid", "test")}
    files = tuple(
        Remote(f"http://nowhere/{n}", hashlib.md5(b).hexdigest()) for n, b in texts.items()
    )
    monkeypatch.setitem(module.SOURCES, "ptb", files)
    return {f"/{name}": body for name, body in texts.items()}


def test_a_set_is_fetched_once_and_then_found(tmp_path, small_ptb, capsys):
    with serving(small_ptb) as (url, kind):
        words = ["data", "fetch", "ptb", "--data-dir", str(tmp_path), "--mirror", url]
        assert cli.main(words) == 0
        assert capsys.readouterr().out.count("sum as published") == 3
        assert load("ptb", tmp_path).test == "test a b\n"
        assert cli.main(words) == 0
        assert len(kind.asked) == 3
    assert cli.main(["data", "--data-dir", str(tmp_path)]) == 0
    assert "text files: 3 files" in capsys.readouterr().out


def test_a_damaged_file_is_named_and_not_replaced(tmp_path, small_ptb):
    (tmp_path / "ptb").mkdir()
    (tmp_path / "ptb" / "ptb.train.txt").write_text("mine")
    with pytest.raises(DataError, match=r"ptb.train.txt is there with MD5 .* delete it"):
        fetch("ptb", tmp_path)
    assert (tmp_path / "ptb" / "ptb.train.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fetch"], "name the set to fetch: mnist"),
        (["fetch", "cifar-10"], "did you mean 'cifar10'"),
        (["list", "mnist"], "write: etalambda data fetch mnist"),
        (["fetch", "ptb", "--data-dir", "FILE/x"], "cannot make"),
    ],
)
def test_mistakes_are_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    assert cli.main(["data", *words]) == 2
    assert says in capsys.readouterr().err


def test_every_published_file_has_a_sum_and_https():
    for files in module.SOURCES.values():
        for remote in files:
            assert remote.url.startswith("https://")
            assert len(bytes.fromhex(remote.md5)) == 16
