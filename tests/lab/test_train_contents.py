"""A checkpoint's table of contents runs nothing that it names."""

import pickle

import pytest
import torch

from etalambda.lab.train import contents

dcp = pytest.importorskip("torch.distributed.checkpoint")


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.filterwarnings("ignore:torch.distributed")
def test_what_dcp_writes_is_read(tmp_path):
    dtypes = torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool
    state = {str(dtype): torch.zeros(2, 3, dtype=dtype) for dtype in dtypes}
    dcp.save(state | {"step": 3, "betas": (0.9, 0.99)}, checkpoint_id=tmp_path, no_dist=True)
    contents.check(tmp_path)


def test_what_dcp_does_not_write_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / contents.NAME).write_bytes(pickle.dumps(Evil(trace)))
    with pytest.raises(pickle.UnpicklingError, match=r"it names (_io|io)\.open"):
        contents.check(tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name",
    [
        ("torch.distributed.checkpoint.filesystem", "os.system"),  # what a known module imports
        ("torch", "load"),
        ("torch", "float32.__class__"),
        ("builtins", "eval"),
    ],
)
def test_known_modules_open_no_way(name, tmp_path):
    module, attribute = name
    word = b"\x8c" + bytes([len(module)]) + module.encode()
    word += b"\x8c" + bytes([len(attribute)]) + attribute.encode()
    (tmp_path / contents.NAME).write_bytes(b"\x80\x04" + word + b"\x93.")  # STACK_GLOBAL
    with pytest.raises(pickle.UnpicklingError, match=f"it names {module}.{attribute}"):
        contents.check(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"no pickle at all"])
def test_damage_is_an_error(damage, tmp_path):
    (tmp_path / contents.NAME).write_bytes(damage)
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        contents.check(tmp_path)
