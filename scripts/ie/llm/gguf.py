"""Weights stored so that llama.cpp computes faster, with the same values to the last bit."""

import os
import platform
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ie.core.errors import UserError

# Types of tensors: 32 values in a block, each an integer times the block's 16-bit scale. Q5_0 has 5 bits per
# value, which must be unpacked for every product; Q8_0 has a byte.
Q5_0, Q8_0 = 6, 8
VALUES = 32
Q5_0_BLOCK = np.dtype([("scale", "<u2"), ("high", "<u4"), ("low", "u1", 16)])
Q8_0_BLOCK = np.dtype([("scale", "<u2"), ("values", "i1", VALUES)])
# Types of metadata: `struct`'s format of each number; strings and arrays are read by `_Reader.metadata`.
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
ALIGNMENT = 32  # of tensors, where the metadata has no other
# Larger models wait for the memory, not for the processor: more bytes per value would slow them down.
LARGEST = 1_000_000_000


@dataclass
class Tensor:
    """A tensor of a file: its data are `size` bytes from `offset`."""

    name: bytes
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


def unpacked(path: Path, checksum: str, folder: Path) -> Path:
    """The weights with their Q5_0 tensors as Q8_0, made once; `path` itself where that wouldn't help.

    Both types hold an integer and the same scale, and llama.cpp adds their products in the same order on
    x86, so that answers stay the same to the last byte. `benchmark-llm` compares them.

    Args:
        checksum: SHA-256 of `path`, which names the new file.
        folder: for the new file.

    Raises:
        UserError: the folder can't be written to.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or path.stat().st_size > LARGEST:
        return path
    target = folder / f"{path.stem}-{checksum[:16]}-unpacked.gguf"
    if target.exists():
        return target
    data = np.memmap(path, mode="r", dtype=np.uint8)
    try:
        header, tensors, alignment = _read(data)
    except (struct.error, KeyError, ValueError, IndexError):
        return path  # llama.cpp reads it, or says what is wrong with it
    if not any(tensor.kind == Q5_0 for tensor in tensors):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Under a temporary name first: a partial file must never look like weights.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as temporary:
            whole = Path(temporary) / target.name
            with open(whole, "wb") as file:
                for part in _write(data, header, tensors, alignment):
                    file.write(part)
            os.replace(whole, target)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: the weights can't be unpacked ({error.strerror or error}); free "
            f"some space or make {folder} writable."
        ) from error
    return target


class _Reader:
    """Reads the header of a GGUF file from its start."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.position = data, 0

    def number(self, form: str) -> Any:
        (value,) = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))
        return value

    def take(self, size: int) -> bytes:
        self.position += size
        return self.data[self.position - size : self.position].tobytes()

    def metadata(self, kind: int) -> Any:
        """A value; arrays are passed over."""
        if kind == STRING:
            return self.take(self.number("Q"))
        if kind != ARRAY:
            return self.number(NUMBERS[kind])
        kind, n = self.number("I"), self.number("Q")
        if kind in NUMBERS:
            self.position += n * struct.calcsize("<" + NUMBERS[kind])
        else:
            for _ in range(n):
                self.metadata(kind)
        return None


def _read(data: np.ndarray) -> tuple[bytes, list[Tensor], int]:
    """The header up to the list of tensors, the tensors, and the alignment of their data."""
    reader = _Reader(data)
    if reader.take(4) != b"GGUF":
        raise ValueError("not a GGUF file")
    reader.number("I")
    n_tensors, n_metadata = reader.number("Q"), reader.number("Q")
    settings = {}
    for _ in range(n_metadata):
        name = reader.take(reader.number("Q"))
        settings[name] = reader.metadata(reader.number("I"))
    alignment = settings.get(b"general.alignment", ALIGNMENT)
    header = data[: reader.position].tobytes()
    entries = []
    for _ in range(n_tensors):
        name = reader.take(reader.number("Q"))
        shape = tuple(reader.number("Q") for _ in range(reader.number("I")))
        entries.append((name, shape, reader.number("I"), reader.number("Q")))
    start = _aligned(reader.position, alignment)
    # Up to the next tensor, so that the sizes of all types needn't be known.
    ends = sorted({*(offset for *_, offset in entries), len(data) - start})
    following = dict(pairwise(ends))
    tensors = [Tensor(*entry[:3], start + entry[3], following[entry[3]] - entry[3]) for entry in entries]
    if any(t.kind == Q5_0 and t.size < _blocks(t) * Q5_0_BLOCK.itemsize for t in tensors):
        raise ValueError("a tensor is cut off")
    return header, tensors, alignment


def _write(data: np.ndarray, header: bytes, tensors: list[Tensor], alignment: int) -> Iterator[bytes]:
    """The parts of the new file, in order."""
    table, offset = b"", 0
    for tensor in tensors:
        kind = Q8_0 if tensor.kind == Q5_0 else tensor.kind
        table += struct.pack("<Q", len(tensor.name)) + tensor.name
        table += struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        table += struct.pack("<IQ", kind, offset)
        offset += _aligned(_new_size(tensor), alignment)
    yield _padded(header + table, alignment)
    for tensor in tensors:
        raw = data[tensor.offset : tensor.offset + tensor.size]
        if tensor.kind == Q5_0:
            raw = raw[: _blocks(tensor) * Q5_0_BLOCK.itemsize]
            yield _padded(to_q8_0(raw.view(Q5_0_BLOCK)).tobytes(), alignment)
        else:
            yield _padded(raw.tobytes(), alignment)


def to_q8_0(blocks: np.ndarray) -> np.ndarray:
    """Blocks of Q5_0 as Q8_0. The values are -16 to 15; the fifth bits of all 32 are in `high`."""
    fifth = (blocks["high"][:, None] >> np.arange(VALUES, dtype=np.uint32)) & 1
    four = np.concatenate([blocks["low"] & 15, blocks["low"] >> 4], axis=1)
    result = np.empty(len(blocks), dtype=Q8_0_BLOCK)
    result["scale"] = blocks["scale"]
    result["values"] = (four | (fifth << 4)).astype(np.int8) - 16
    return result


def _blocks(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape)) // VALUES


def _new_size(tensor: Tensor) -> int:
    return _blocks(tensor) * Q8_0_BLOCK.itemsize if tensor.kind == Q5_0 else tensor.size


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _padded(part: bytes, alignment: int) -> bytes:
    return part + bytes(_aligned(len(part), alignment) - len(part))
