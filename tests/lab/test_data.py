"""Readers on files generated in the official formats, and the augmentation's distribution."""

import gzip
import io
import struct

import duckdb
import numpy as np
import pytest
import torch
from PIL import Image

from etalambda.lab.data import (
    DataError,
    Pictures,
    Recipe,
    read_cifar_binary,
    read_idx,
    read_idx_pair,
    read_image_parquet,
    read_keras_npz,
)

rng = np.random.default_rng(0)


def write_idx(path, array, code=0x08, pack=bytes):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(pack(header + array.tobytes()))
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_plain_and_gzipped(tmp_path, pack):
    x, y = rng.integers(0, 256, (7, 5, 4), np.uint8), rng.integers(0, 10, 7, np.uint8)
    found = read_idx_pair(
        write_idx(tmp_path / "x", x, pack=pack), write_idx(tmp_path / "y", y, pack=pack)
    )
    assert np.array_equal(found.images[:, 0], x)
    assert np.array_equal(found.labels, y)
    assert (found.images.dtype, found.labels.dtype) == (np.uint8, np.int64)


def test_idx_of_other_types(tmp_path):
    numbers = np.arange(6, dtype=">f4").reshape(2, 3)
    assert np.array_equal(read_idx(write_idx(tmp_path / "f", numbers, 0x0D)), numbers)


def test_wrong_idx_files_are_named(tmp_path):
    x = write_idx(tmp_path / "x", rng.integers(0, 256, (7, 5, 4), np.uint8))
    whole = x.read_bytes()
    y = write_idx(tmp_path / "y", rng.integers(0, 10, 6, np.uint8))
    with pytest.raises(DataError, match="do not belong together"):
        read_idx_pair(x, y)
    for raw, message in (
        (whole[:-3], "truncated: 137 bytes of data, its header says 140"),
        (whole + b"!", "too long"),
        (whole[:9], "ends inside its header"),
        (b"PK\x03\x04", "no IDX file"),
        (gzip.compress(whole)[:-20], "cannot be read"),
    ):
        x.write_bytes(raw)
        with pytest.raises(DataError, match=message):
            read_idx(x)
    with pytest.raises(DataError, match="is not there"):
        read_idx(tmp_path / "nowhere")


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_cifar_binary(tmp_path, label_bytes):
    labels = rng.integers(0, 10, (6, label_bytes), np.uint8)
    pixels = rng.integers(0, 256, (6, 3072), np.uint8)
    rows = np.concatenate([labels, pixels], 1)
    for i, part in enumerate((rows[:4], rows[4:])):
        (tmp_path / f"b{i}.bin").write_bytes(part.tobytes())
    paths = [tmp_path / "b0.bin", tmp_path / "b1.bin"]
    found = read_cifar_binary(paths, label_bytes=label_bytes)
    assert np.array_equal(found.images, pixels.reshape(-1, 3, 32, 32))
    assert np.array_equal(found.labels, labels[:, -1])
    (tmp_path / "b1.bin").write_bytes(rows[4:].tobytes()[:-1])
    with pytest.raises(DataError, match=r"b1.bin has .* truncated, or not CIFAR's"):
        read_cifar_binary(paths, label_bytes=label_bytes)


def test_keras_npz(tmp_path):
    arrays = dict(
        x_train=rng.integers(0, 256, (5, 8, 8), np.uint8), y_train=np.arange(5, dtype=np.uint8),
        x_test=rng.integers(0, 256, (3, 8, 8, 3), np.uint8), y_test=np.arange(3)[:, None],
    )  # fmt: skip
    np.savez(tmp_path / "d.npz", **arrays)
    train, test = read_keras_npz(tmp_path / "d.npz")
    assert np.array_equal(train.images[:, 0], arrays["x_train"])
    assert np.array_equal(test.images, arrays["x_test"].transpose(0, 3, 1, 2))
    assert test.labels.tolist() == [0, 1, 2]


def test_wrong_npz_files_are_named_and_never_unpickled(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x_train=np.zeros(3))
    with pytest.raises(DataError, match=r"lacks \['x_test', 'y_test', 'y_train'\]"):
        read_keras_npz(path)
    objects = np.array([print], dtype=object)
    np.savez(path, **dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), objects))
    with pytest.raises(DataError, match="damaged or no"):
        read_keras_npz(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="damaged or no"):
        read_keras_npz(path)
    np.savez(path, x_train=np.zeros((2, 3, 3)), y_train=[0, 1], x_test=[0], y_test=[0])
    with pytest.raises(DataError, match="expected uint8"):
        read_keras_npz(path)


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def write_parquet(path, rows):
    with duckdb.connect() as db:
        db.execute("create table t (img struct(bytes blob, path varchar), label bigint)")
        for encoded, label in rows:
            db.execute("insert into t values (row(?, null), ?)", [encoded, label])
        db.execute(f"copy t to '{path}' (format parquet)")
    return path


def test_image_parquet(tmp_path):
    pictures = rng.integers(0, 256, (4, 6, 5, 3), np.uint8)
    path = write_parquet(tmp_path / "d.parquet", [(png(p), i) for i, p in enumerate(pictures)])
    found = read_image_parquet(path)
    assert np.array_equal(found.images, pictures.transpose(0, 3, 1, 2))
    assert found.labels.tolist() == [0, 1, 2, 3]


def test_wrong_parquet_files_are_named(tmp_path):
    one, other = (np.zeros((s, s, 3), np.uint8) for s in (4, 5))
    with pytest.raises(DataError, match="one size"):
        read_image_parquet(write_parquet(tmp_path / "a.parquet", [(png(one), 0), (png(other), 1)]))
    with pytest.raises(DataError, match="row 1: the image cannot be read"):
        read_image_parquet(write_parquet(tmp_path / "b.parquet", [(png(one), 0), (b"junk", 1)]))
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="damaged or no Parquet"):
        read_image_parquet(tmp_path / "c.parquet")
    with duckdb.connect() as db:
        db.execute(f"copy (select 1 as a) to '{tmp_path / 'd.parquet'}' (format parquet)")
    with pytest.raises(DataError, match=r"needs columns img .* it has \['a'\]"):
        read_image_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match="is not there"):
        read_image_parquet(tmp_path / "e.parquet")


def pictures(n=4000, size=8):
    """Every pixel's value tells where it is."""
    grid = torch.arange(1, size * size + 1, dtype=torch.uint8).reshape(1, 1, size, size)
    return Pictures(
        grid.repeat(n, 1, 1, 1), torch.arange(n) % 10, mean=torch.zeros(1), std=torch.ones(1)
    )


def raw(x):
    return (x * 255).round().long()


def test_crops_and_flips_have_the_recipes_distribution():
    """Offsets uniform on (2·pad + 1)², flip 1/2, zeros outside: χ² at the 99.9 % quantile."""
    data, pad, size = pictures(), 2, 8
    x = torch.cat([x for x, _ in data.epoch(batch_size=500, seed=1, recipe=Recipe(pad, True))])
    padded = torch.nn.functional.pad(raw(data.images[:1] / 255.0), [pad] * 4)[0, 0]
    seen = {}
    windows = {}
    for flip in (0, 1):
        for i in range(2 * pad + 1):
            for j in range(2 * pad + 1):
                crop = padded[i : i + size, j : j + size]
                windows[tuple((crop.flip(1) if flip else crop).flatten().tolist())] = (flip, i, j)
    for picture in raw(x)[:, 0]:
        key = windows[tuple(picture.flatten().tolist())]  # a KeyError is no crop of the recipe
        seen[key] = seen.get(key, 0) + 1
    expected = len(x) / len(windows)
    chi2 = sum((seen.get(key, 0) - expected) ** 2 / expected for key in windows.values())
    assert chi2 < 85.4  # 49 degrees of freedom


def test_cutout_is_a_square_clipped_at_the_border():
    data = pictures(n=300)
    (x, _), *_ = data.epoch(batch_size=300, seed=2, recipe=Recipe(cutout=4))
    gone = (raw(x)[:, 0] == 0).sum((1, 2))
    assert gone.max() == 16
    assert gone.min() >= 4
    assert (gone == 16).double().mean() > 0.2


def test_mixup_mixes_pictures_and_labels_alike():
    data = pictures(n=200)
    (_, y), *_ = data.epoch(batch_size=200, seed=3, recipe=Recipe(mixup=0.4))
    torch.testing.assert_close(y.sum(1), torch.ones(200))
    assert y.shape == (200, 10)
    assert ((y > 0).sum(1) <= 2).all()


def test_an_epoch_is_a_permutation_and_the_last_batch_is_kept():
    data = Pictures(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), torch.arange(10))
    labels = [y for _, y in data.epoch(batch_size=4, seed=0)]
    assert [len(y) for y in labels] == [4, 4, 2]
    assert sorted(torch.cat(labels).tolist()) == list(range(10))
    other = torch.cat([y for _, y in data.epoch(batch_size=4, seed=0, epoch=1)])
    assert other.tolist() != torch.cat(labels).tolist()


def test_an_interrupted_epoch_goes_on_exactly():
    data, recipe = pictures(n=40), Recipe(pad=2, flip=True, cutout=3, mixup=1.0)
    straight = list(data.epoch(batch_size=9, seed=5, epoch=2, recipe=recipe))
    resumed = list(data.epoch(batch_size=9, seed=5, epoch=2, start=3, recipe=recipe))
    for (x, y), (again, targets) in zip(straight[3:], resumed, strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, targets)


def test_normalization_is_per_channel():
    images = torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8)
    images[:, 1] //= 4
    x = torch.cat([x for x, _ in Pictures(images, torch.zeros(50)).batches(7)])
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"uint8 \(n, c, h, w\), got torch.float32"):
        Pictures(torch.zeros(2, 1, 2, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="2 images but labels"):
        Pictures(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(3))
    with pytest.raises(ValueError, match="pad must be"):
        Recipe(pad=-1)
