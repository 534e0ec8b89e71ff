"""Weights in another form: the same values, and no other change to the file."""

import struct

import numpy as np
import pytest

from ie.core.errors import UserError
from ie.llm import gguf

CHECKSUM = "0123456789abcdef" * 4
F32 = 0


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pad(data: bytes, to: int = 32) -> bytes:
    return data + bytes(-len(data) % to)


def write(path, tensors, metadata=b"", n_metadata=0):
    """A GGUF file of (name, shape, type, data)."""
    table, content = b"", b""
    for name, shape, kind, data in tensors:
        table += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(content))
        content += pad(data)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), n_metadata)
    path.write_bytes(pad(head + metadata + table) + content)
    return path


def q5_0(values: np.ndarray, scales: list[float]) -> bytes:
    """Integers from -16 to 15, 32 to a scale, as ggml's `quantize_row_q5_0` lays them out."""
    out = b""
    for block, scale in zip((values + 16).reshape(-1, 32), scales, strict=True):
        high = sum(int(value >> 4) << i for i, value in enumerate(block))
        low = [int(block[i] & 15) | int(block[i + 16] & 15) << 4 for i in range(16)]
        out += struct.pack("<eI16B", scale, high, *low)
    return out


@pytest.fixture
def weights(tmp_path):
    values = np.tile(np.arange(-16, 16), 2).reshape(2, 32)
    values[1] = np.random.default_rng(0).permutation(values[1])
    metadata = text(b"name") + struct.pack("<I", 8) + text(b"tiny")
    metadata += text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc")
    metadata += text(b"scores") + struct.pack("<IIQff", 9, 6, 2, 0.5, 1.5)
    tensors = [
        (b"before", (3,), F32, struct.pack("<3f", 1, 2, 3)),
        (b"packed", (32, 2), gguf.Q5_0, q5_0(values, [0.25, -3.5])),
        (b"after", (1,), F32, struct.pack("<f", 7)),
    ]
    return write(tmp_path / "tiny.gguf", tensors, metadata, 3), values


def test_every_value_and_every_other_tensor_stay_the_same(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    path, values = weights
    new = gguf.unpacked(path, CHECKSUM, tmp_path / "cache")
    assert new != path
    data = np.memmap(new, dtype=np.uint8)
    before, packed, after = gguf._read(data)[1]
    assert [(t.name, t.shape, t.kind) for t in (before, packed, after)] == [
        (b"before", (3,), F32),
        (b"packed", (32, 2), gguf.Q8_0),
        (b"after", (1,), F32),
    ]
    assert struct.unpack("<3f", data[before.offset : before.offset + 12].tobytes()) == (1, 2, 3)
    assert struct.unpack("<f", data[after.offset : after.offset + 4].tobytes()) == (7,)
    blocks = [data[packed.offset + 34 * i :][:34].tobytes() for i in range(2)]
    assert [struct.unpack("<e", block[:2])[0] for block in blocks] == [0.25, -3.5]
    assert [list(struct.unpack("<32b", block[2:])) for block in blocks] == values.tolist()
    # The metadata are copied as they are.
    assert new.read_bytes().split(b"before")[0] == path.read_bytes().split(b"before")[0]
    # A second call finds the file.
    written = new.stat().st_mtime_ns
    assert gguf.unpacked(path, CHECKSUM, tmp_path / "cache") == new
    assert new.stat().st_mtime_ns == written
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [new.name]


@pytest.mark.parametrize(
    "setting",
    [("platform.machine", lambda: "arm64"), ("ie.llm.gguf.LARGEST", 10)],
)
def test_other_processors_and_large_models_keep_their_file(weights, tmp_path, monkeypatch, setting):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(*setting)
    assert gguf.unpacked(weights[0], CHECKSUM, tmp_path / "cache") == weights[0]


@pytest.mark.parametrize("content", ["no weights", "cut off", "no end", "nothing packed"])
def test_a_file_without_packed_tensors_is_left_to_llama_cpp(weights, tmp_path, monkeypatch, content):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    path = weights[0]
    if content == "no weights":
        path.write_bytes(b"something else")
    elif content == "cut off":
        path.write_bytes(path.read_bytes()[:60])
    elif content == "no end":
        path.write_bytes(path.read_bytes()[:-70])
    else:
        write(path, [(b"one", (1,), F32, struct.pack("<f", 7))])
    assert gguf.unpacked(path, CHECKSUM, tmp_path / "cache") == path
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_to_is_one_sentence(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="writable"):
        gguf.unpacked(weights[0], CHECKSUM, tmp_path / "file" / "cache")
