"""Every data set is found in each form it is published in, and what is wrong is named."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from etalambda.lab.data import DataError, IncompleteError, find, fingerprint, load, tokens
from etalambda.lab.data.layouts import SETS

rng = np.random.default_rng(0)


def idx(path, array, pack=bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(pack(header + array.tobytes()))


def idx_set(folder, end="-ubyte", pack=bytes, dot="-", size=28, labels=10):
    for part, n in (("train", 6), ("t10k", 3)):
        idx(
            folder / f"{part}-images{dot}idx3{end}",
            rng.integers(0, 256, (n, size, size), np.uint8),
            pack,
        )
        idx(folder / f"{part}-labels{dot}idx1{end}", rng.integers(0, labels, n, np.uint8), pack)


def cifar_rows(n, label_bytes=1, classes=10):
    labels = rng.integers(0, classes, (n, label_bytes), np.uint8)
    return np.concatenate([labels, rng.integers(0, 256, (n, 3072), np.uint8)], 1).tobytes()


def cifar_files(label_bytes):
    if label_bytes == 2:
        return {"train.bin": cifar_rows(5, 2, 100), "test.bin": cifar_rows(2, 2, 100)}
    train = {f"data_batch_{i}.bin": cifar_rows(2) for i in range(1, 6)}
    return train | {"test_batch.bin": cifar_rows(3)}


def pack_tar(path, files, prefix):
    with tarfile.open(path, "w:gz") as tar:
        for name, raw in files.items():
            info = tarfile.TarInfo(f"{prefix}/{name}")
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))


@pytest.mark.parametrize(
    ("name", "place"),
    [("mnist", ""), ("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")],
)
@pytest.mark.parametrize(
    ("end", "pack", "dot"),
    [("-ubyte", bytes, "-"), ("-ubyte.gz", gzip.compress, "-"), ("-ubyte", bytes, ".")],
)
def test_idx_sets(tmp_path, name, place, end, pack, dot):
    idx_set(tmp_path / place, end, pack, dot)
    found = load(name, tmp_path)
    assert found.train.images.shape == (6, 1, 28, 28)
    assert (len(found.test.labels), found.classes, len(found.files)) == (3, 10, 4)


def test_mnist_and_fashion_are_told_apart_by_their_folder(tmp_path):
    idx_set(tmp_path / "fashion-mnist")
    assert load("fashion-mnist", tmp_path).name == "fashion-mnist"
    with pytest.raises(DataError, match="holds no mnist"):
        load("mnist", tmp_path)


@pytest.mark.parametrize(
    ("name", "label_bytes", "folder", "archive"),
    [
        ("cifar10", 1, "cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
        ("cifar100", 2, "cifar-100-binary", "cifar-100-binary.tar.gz"),
    ],
)
def test_cifar_unpacked_and_in_its_archive(tmp_path, name, label_bytes, folder, archive):
    files = cifar_files(label_bytes)
    (tmp_path / "a" / folder).mkdir(parents=True)
    for part, raw in files.items():
        (tmp_path / "a" / folder / part).write_bytes(raw)
    (tmp_path / "b").mkdir()
    pack_tar(tmp_path / "b" / archive, files, folder)
    unpacked, packed = (load(name, tmp_path / place) for place in "ab")
    for one, other in ((unpacked.train, packed.train), (unpacked.test, packed.test)):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.labels, other.labels)
    assert packed.classes == (10 if label_bytes == 1 else 100)
    assert len(packed.train.labels) == (10 if label_bytes == 1 else 5)
    assert fingerprint(packed.files) != fingerprint(unpacked.files)


def test_an_archive_that_is_cut_off_or_another_one_is_named(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    pack_tar(path, cifar_files(1), "cifar-10-batches-bin")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz (is damaged|lacks)"):
        load("cifar10", tmp_path)
    pack_tar(path, {"data_batch_1.bin": cifar_rows(1)}, "x")
    with pytest.raises(DataError, match=r"lacks data_batch_2.bin, .* test_batch.bin"):
        load("cifar10", tmp_path)


def npz(path, shape):
    x = rng.integers(0, 256, (4, *shape), np.uint8)
    np.savez(path, x_train=x, y_train=[0, 1, 2, 9], x_test=x, y_test=[0, 1, 2, 3])


@pytest.mark.parametrize(
    ("name", "file", "shape"),
    [
        ("mnist", "mnist.npz", (28, 28)),
        ("fashion-mnist", "fashion_mnist.npz", (28, 28)),
        ("cifar10", "cifar10.npz", (32, 32, 3)),
        ("cifar100", "cifar100.npz", (32, 32, 3)),
    ],
)
def test_keras_archives(tmp_path, name, file, shape):
    npz(tmp_path / file, shape)
    assert len(load(name, tmp_path).train.labels) == 4


def test_another_set_under_this_name_is_named(tmp_path):
    npz(tmp_path / "cifar10.npz", (28, 28))
    with pytest.raises(DataError, match=r"are \(1, 28, 28\), expected \(3, 32, 32\)"):
        load("cifar10", tmp_path)
    idx_set(tmp_path / "m", labels=200)
    with pytest.raises(DataError, match=r"labels .* expected 0 to 9"):
        load("mnist", tmp_path / "m")


def tables(folder, names):
    import duckdb

    folder.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(buffer, format="PNG")
    for name in names:
        with duckdb.connect() as db:
            db.execute("create table t (img struct(bytes blob), label bigint)")
            db.executemany(
                "insert into t values (row(?), ?)", [[buffer.getvalue(), i] for i in (1, 2)]
            )
            db.execute(f"copy t to '{folder / name}' (format parquet)")


def test_parquet_tables_in_shards(tmp_path):
    tables(tmp_path / "cifar10", ["train-0-of-2.parquet", "train-1-of-2.parquet", "test-0.parquet"])
    assert load("cifar10", tmp_path).train.labels.tolist() == [1, 2, 1, 2]
    tables(tmp_path, ["cifar100-train.parquet", "cifar100-test.parquet"])
    assert len(load("cifar100", tmp_path).files) == 2
    tables(tmp_path / "other", ["cifar100-train.parquet", "x-test.parquet"])
    with pytest.raises(DataError, match="holds no cifar10;"):
        load("cifar10", tmp_path / "other")


def test_ptb_and_its_words(tmp_path):
    for part, text in (("train", " a b <unk>\n c\n"), ("valid", "a\n"), ("test", "c d\n")):
        (tmp_path / f"ptb.{part}.txt").write_text(text)
    found = tokens(load("ptb", tmp_path))
    assert found.train.tolist() == [0, 1, 2, 3, 4, 3]
    assert [found.vocabulary[i] for i in found.test] == ["c", "d", "<eos>"]
    with pytest.raises(ValueError, match="unit must be 'words' or 'characters', got 'bytes'"):
        tokens(load("ptb", tmp_path), "bytes")
    (tmp_path / "ptb.valid.txt").unlink()
    with pytest.raises(IncompleteError, match=r"part of ptb as text files, but not ptb.valid.txt"):
        load("ptb", tmp_path)


def test_any_text_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("abcdefghij")
    for place in (path, tmp_path):
        assert load("text", place)[1:4] == ("abcdefgh", "i", "j")
    assert tokens(load("text", path), "characters").test.tolist() == [9]
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"2 text files .*; pass the one to read"):
        load("text", tmp_path)
    for raw, says in ((b"\xff\xfe", "not UTF-8"), (b" \n", "is empty")):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=says):
            load("text", path)


def test_tinyshakespeare_as_fetched_and_by_name(tmp_path):
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("to be or not")
    assert load("tinyshakespeare", tmp_path).train == "to be or "


def class_folder(root, parts, size=(8, 6)):
    for part in parts:
        folder = root / part
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / "a.png")


def test_class_folders(tmp_path):
    class_folder(tmp_path, ["train/cat", "train/dog", "val/dog"])
    found = load("folder", tmp_path)
    assert found.train.images.shape == (2, 3, 8, 6)
    assert (found.test.labels.tolist(), found.classes) == ([1], 2)
    class_folder(tmp_path, ["val/cow"])
    with pytest.raises(DataError, match=r"classes that train has not: \['cow'\]"):
        load("folder", tmp_path)


def test_wrong_class_folders_are_named(tmp_path):
    class_folder(tmp_path, ["train/cat"])
    with pytest.raises(IncompleteError, match="the folder test"):
        load("folder", tmp_path)
    class_folder(tmp_path, ["test/cat"])
    class_folder(tmp_path, ["train/dog"], size=(5, 5))
    with pytest.raises(DataError, match="resize all pictures to one size"):
        load("folder", tmp_path)
    (tmp_path / "train/dog/a.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"a.png: the image cannot be read"):
        load("folder", tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_an_empty_or_missing_folder_says_what_is_expected(tmp_path, name):
    with pytest.raises(DataError, match=f"holds no {name}; (expected|pass)"):
        find(name, tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        find(name, tmp_path / "nowhere")


def test_an_unknown_set_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        load("cifar-10", tmp_path)
