"""The format on disk: a manifest, rows by id, a checksum per block, a bit per row."""

import errno
import json
import mmap
import os
import sys
import warnings
import zlib
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT, VERSION = "graphkd.TeacherStore", 1
MANIFEST, BLOCKS, FILLED = "manifest.json", "blocks.bin", "filled.bin"
PLAN, JOURNAL = "plan.json", "journal.bin"
ARRAYS = ("h", "z")
_WHOLE = {MANIFEST, BLOCKS, FILLED, PLAN, JOURNAL, *(f"{a}.bin" for a in ARRAYS)}
NAMES = _WHOLE | {f"{name}.new" for name in _WHOLE}
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
# Small, because the first read of a row reads its whole block to check it.
_BLOCK_BYTES = 2**16


def dtype_name(dtype: Any) -> str:
    """The name of a dtype that a store can hold."""
    for name, known in DTYPES.items():
        if dtype == known:
            return name
    raise ValueError(f"dtype must be one of {', '.join(f'torch.{n}' for n in DTYPES)}; got {dtype}")


def raw(rows: Tensor) -> memoryview:
    """The bytes of a tensor on the CPU, without a copy if it is contiguous."""
    flat = rows.contiguous().reshape(-1)
    # A single entry may have any stride, and a view as bytes needs 1.
    content: Any = flat.as_strided(flat.shape, (1,)).view(torch.uint8).numpy()
    return memoryview(content)


def sync(descriptor: int) -> bool:
    """Wait until a file or folder is on disk; False if the system has no such call for it."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):  # it tried, and failed
            raise
        return False
    return True


def sync_folder(folder: Path) -> bool:
    """Make the names in a folder durable; False if the system cannot."""
    if os.name != "posix":
        return True
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # such as a folder in which names may be looked up and not listed
        return False
    try:
        return sync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        sync(stream.fileno())


def rows_crc(rows: dict[str, Tensor]) -> int:
    """One checksum of the rows of all arrays."""
    crc = 0
    for name in ARRAYS:
        if name in rows:
            crc = zlib.crc32(raw(rows[name]), crc)
    return crc


def write_all(file: FileIO, content: memoryview) -> None:
    """Write all bytes: one call to the system may write fewer."""
    while content:
        content = content[file.write(content) or 0 :]


class MappedRows:
    """The rows of one file, mapped read-only. Each block is checked when it is first read."""

    def __init__(
        self, file: Path, shape: Sequence[int], dtype: torch.dtype, crcs: bytes | None = None
    ) -> None:
        num_rows, width = shape
        self.file, self.num_rows = file, num_rows
        self.row_bytes = width * dtype.itemsize
        self.block_rows = max(1, _BLOCK_BYTES // self.row_bytes)
        self.num_blocks = -(-num_rows // self.block_rows)
        self._crcs = None if crcs is None else memoryview(crcs).cast("I")
        self._seen = torch.zeros(self.num_blocks, dtype=torch.bool, device="cpu")
        self._all_seen = crcs is None
        self._map: mmap.mmap | None = None
        if num_rows == 0:
            self._rows = torch.empty(0, width, dtype=dtype, device="cpu")
            return
        with file.open("rb") as stream:
            # The system refuses a private writable mapping that is larger than the memory.
            try:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                message = f"TeacherStore: {file} cannot be mapped into memory: {error.strerror}"
                remedy = "Copy the store to a file system that can map files, such as a local disk."
                raise OSError(error.errno, f"{message}. {remedy}") from error
        with warnings.catch_warnings():
            # torch warns that the buffer is read-only, but nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            flat = torch.frombuffer(self._map, dtype=dtype, count=num_rows * width)
        self._rows = flat.view(num_rows, width)

    def gather(self, ids: Tensor) -> Tensor:
        """A copy of these rows, which must exist."""
        if not self._all_seen:
            self._check(torch.div(ids, self.block_rows, rounding_mode="floor"))
        return self._rows.index_select(0, ids)

    def verify(self) -> None:
        """Check every block that has not been read yet."""
        if not self._all_seen:
            self._check(torch.arange(self.num_blocks, device="cpu"))

    def crc(self, block: int) -> int:
        """The checksum of a block as it is on disk."""
        assert self._map is not None  # there is no block without a row
        size = self.block_rows * self.row_bytes
        with memoryview(self._map) as view:
            return zlib.crc32(view[block * size : (block + 1) * size])

    def _check(self, blocks: Tensor) -> None:
        assert self._crcs is not None  # without checksums, all blocks count as seen
        # Reading a mapped page that is no longer in the file would kill the process.
        if self._map is not None and self._map.size() < self.num_rows * self.row_bytes:
            raise ValueError(
                f"TeacherStore: {self.file} is damaged: it was cut to {self._map.size()} bytes "
                "after it was opened. Build the store again with overwrite=True."
            )
        for block in torch.unique(blocks[~self._seen[blocks]]).tolist():
            if self.crc(block) != self._crcs[block]:
                raise ValueError(
                    f"TeacherStore: {self.file} is damaged: rows {block * self.block_rows} and on "
                    "do not match their checksum. Build the store again with overwrite=True."
                )
            self._seen[block] = True
        self._all_seen = bool(self._seen.all())

    def close(self) -> None:
        del self._rows
        if self._map is not None:
            self._map.close()


def pack_bits(mask: Tensor) -> bytes:
    """Pack eight rows into a byte, the first into the lowest bit."""
    padded = torch.nn.functional.pad(mask.to(torch.uint8), (0, -len(mask) % 8)).view(-1, 8)
    weights = padded.new_tensor([1 << bit for bit in range(8)])
    return bytes(raw((padded * weights).sum(1, dtype=torch.uint8)))


def unpack_bits(content: bytes, count: int) -> Tensor:
    if not count:
        return torch.zeros(0, dtype=torch.bool, device="cpu")
    packed = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    places = torch.arange(8, dtype=torch.uint8, device=packed.device)
    bits = packed[:, None].bitwise_right_shift(places) & 1
    return bits.view(-1)[:count].bool()


def render_manifest(manifest: dict[str, Any]) -> bytes:
    """The manifest as text, with its own checksum at the end."""
    body = {name: value for name, value in manifest.items() if name != "checksum"}
    text = json.dumps(body, sort_keys=True)
    return (json.dumps({**body, "checksum": zlib.crc32(text.encode())}, indent=1) + "\n").encode()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the store in this folder, checked."""
    if not folder.exists():
        real = Path(os.path.realpath(folder))
        partial = partial_folder(real)
        place = str(folder) if real == folder else f"{folder}, which leads to {real}"
        hint = (
            f"An unfinished build is in {partial}: call TeacherStore.build again to finish it."
            if partial.exists()
            else "Make it with TeacherStore.build."
        )
        raise FileNotFoundError(f"TeacherStore: there is nothing at {place}. {hint}")
    foreign = (
        f"TeacherStore: {folder} is not a teacher store. Pass the path that was given to "
        "TeacherStore.build."
    )
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{foreign} It has no {MANIFEST}.")
    content = (folder / MANIFEST).read_bytes()
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:  # a ValueError also if it is not UTF-8
        raise ValueError(f"{foreign} Its {MANIFEST} cannot be read: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{foreign} Its {MANIFEST} is of something else.")
    if manifest.get("version") != VERSION:
        raise ValueError(
            f"TeacherStore: {folder} is of version {manifest.get('version')!r} of the format; this "
            f"graphkd reads version {VERSION}. Build it again, or use the graphkd that made it."
        )
    # Compare the text, so that not even a space may differ.
    if render_manifest(manifest) != content:
        raise ValueError(
            f"TeacherStore: {folder / MANIFEST} was changed: its checksum does not match. "
            "Build the store again with overwrite=True."
        )
    if manifest["byteorder"] != sys.byteorder:
        raise ValueError(
            f"TeacherStore: {folder} was built on a {manifest['byteorder']}-endian machine, and "
            f"this one is {sys.byteorder}-endian. Build it again here."
        )
    return manifest


def partial_folder(folder: Path) -> Path:
    """The folder of a store's unfinished build."""
    return folder.with_name(folder.name + ".partial")


def read_files(folder: Path, manifest: dict[str, Any]) -> dict[str, bytes]:
    """The small files, checked; of the large files, only the size is checked."""
    contents = {}
    for name, facts in manifest["files"].items():
        file = folder / name
        size = file.stat().st_size if file.is_file() else None
        if size != facts["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise ValueError(
                f"TeacherStore: {folder} is damaged: {name} {found} and should have "
                f"{facts['bytes']} bytes. Build the store again with overwrite=True."
            )
        if "crc32" in facts:
            contents[name] = file.read_bytes()
            if zlib.crc32(contents[name]) != facts["crc32"]:
                raise ValueError(
                    f"TeacherStore: {file} is damaged: its checksum does not match. Build the "
                    "store again with overwrite=True."
                )
    return contents
