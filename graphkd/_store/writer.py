"""An unfinished build: rows are written first, then a journal record confirms them.

A record holds the ids of a batch and a checksum of their rows as they must be on disk. However a
build was killed, even by a power cut, the next one trusts only records whose rows match. Rows that
a record confirms are never written again.
"""

import contextlib
import json
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphkd._store import places
from graphkd._store.files import (
    ARRAYS,
    BLOCKS,
    DTYPES,
    FILLED,
    MANIFEST,
    PLAN,
    MappedRows,
    pack_bits,
    partial_folder,
    raw,
    render_manifest,
    rows_crc,
    sync,
    sync_folder,
    write_all,
    write_durably,
)
from graphkd._store.lock import claim, fcntl, let_go
from graphkd._store.requests import differences, is_known

_HEAD, _TAIL = struct.Struct("<QI"), struct.Struct("<I")


class PartialStore:
    """The folder of an unfinished build; this process is its only writer.

    ``plan`` says how the rows found there were made; it is ``{}`` if there are none.
    """

    def __init__(self, folder: Path, recipe: dict[str, Any]) -> None:
        self.target, self.folder = folder, partial_folder(folder)
        if os.path.lexists(self.folder) and not places.is_ours(self.folder):
            raise ValueError(
                f"TeacherStore.build: {self.folder}, where an unfinished build would lie, holds "
                "something else. Move it away, or build at another path."
            )
        self._published = False
        self._arrays: dict[str, FileIO] = {}
        self.done = torch.zeros(0, dtype=torch.bool, device="cpu")
        self.plan: dict[str, Any] = {}
        with places.explained(
            f"{folder} cannot be built", "The teacher has not run yet. Choose another path."
        ):
            missing = places.try_out(folder.parent)
            self._journal = claim(self.folder, missing)
        try:
            self._warned = bool(missing)
            if missing:
                warnings.warn(
                    f"TeacherStore.build: the build goes on although the file system of "
                    f"{folder.parent} lacks something: {'; '.join(missing)}.",
                    stacklevel=3,
                )
            self._resume(recipe)
        except BaseException:
            self._release()
            let_go(self._journal)
            raise

    def _resume(self, recipe: dict[str, Any]) -> None:
        self.plan = places.read_plan(self.folder)
        changed = differences(self.plan["recipe"], recipe) if self.plan else ""
        if self.plan and (changed or not is_known(recipe)):
            why = f"was of another {changed}" if changed else "may be of other data"
            if not changed and (self.folder / MANIFEST).exists():
                raise ValueError(
                    f"TeacherStore.build: {self.folder} holds a complete store, which could not "
                    f"be moved to its place and {why}. Open it there, or move it away."
                )
            warnings.warn(
                f"TeacherStore.build: the build in {self.folder} {why}; it is discarded.",
                stacklevel=4,
            )
            self.plan = {}
        if self.plan:
            self._open_arrays()
            self._replay()
        self.plan = self.plan if self.num_filled else {}

    @property
    def num_filled(self) -> int:
        return int(self.done.count_nonzero())  # a sum would make 8 bytes of each

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.plan["recipe"]["dtype"]]

    def begin(self, plan: dict[str, Any], num_rows: int | None) -> None:
        """Start anew, with files that may grow to ``num_rows`` rows, if they are known."""
        with places.explained(
            f"{self.folder} cannot be written",
            "The teacher has run on the first batch only. Make room, or choose another path.",
        ):
            self._begin(plan)
            for name, file in self._arrays.items():
                # Whether the system allows such a file; it takes no room.
                file.truncate((num_rows or 0) * plan["widths"][name] * self.dtype.itemsize)
                file.truncate(0)

    def _begin(self, plan: dict[str, Any]) -> None:
        self._journal.truncate(0)  # first: a record must never meet the files of another plan
        for file in self._arrays.values():
            file.close()
        self._arrays = {}
        for name in ARRAYS:
            (self.folder / f"{name}.bin").unlink(missing_ok=True)
        new = self.folder / f"{PLAN}.new"
        write_durably(new, json.dumps(plan).encode())
        new.replace(self.folder / PLAN)
        self.plan, self.done = plan, torch.zeros(0, dtype=torch.bool, device="cpu")
        self._open_arrays()

    def _open_arrays(self) -> None:
        for name in self.plan["widths"]:
            file = self.folder / f"{name}.bin"
            file.touch()
            self._arrays[name] = file.open("r+b", buffering=0)

    def _mapped(self) -> dict[str, MappedRows]:
        """The complete rows on disk, by array."""
        mapped = {}
        for name, width in self.plan["widths"].items():
            file = self.folder / f"{name}.bin"
            count = file.stat().st_size // (width * self.dtype.itemsize)
            mapped[name] = MappedRows(file, (count, width), self.dtype)
        return mapped

    def _records(self) -> Iterator[tuple[Tensor, int]]:
        """Yield the records of the journal up to the first torn one, and cut it off."""
        self._journal.seek(0)
        size = os.fstat(self._journal.fileno()).st_size
        end = 0
        while size - end >= _HEAD.size + _TAIL.size:
            head = self._journal.read(_HEAD.size)
            count, crc = _HEAD.unpack(head)
            if 8 * count > size - end - _HEAD.size - _TAIL.size:
                break
            ids = bytearray(self._journal.read(8 * count))
            if _TAIL.unpack(self._journal.read(_TAIL.size)) != (zlib.crc32(head + ids),):
                break
            end += _HEAD.size + len(ids) + _TAIL.size
            yield torch.frombuffer(ids, dtype=torch.int64), crc
        self._journal.truncate(end)

    def _replay(self) -> None:
        mapped = self._mapped()
        for ids, crc in self._records():
            if all(int(ids[-1]) < part.num_rows for part in mapped.values()):
                rows = {name: part.gather(ids) for name, part in mapped.items()}
                if rows_crc(rows) == crc:
                    self._mark(ids)
        for part in mapped.values():
            part.close()

    def _mark(self, ids: Tensor) -> None:
        top = int(ids[-1]) + 1
        if top > len(self.done):
            grown = self.done.new_zeros(max(top, 2 * len(self.done)))
            grown[: len(self.done)] = self.done
            self.done = grown
        self.done[ids] = True

    def missing(self, ids: Tensor) -> Tensor:
        """Positions in ``ids`` of ids not written yet, by growing id; of equal ids, the first."""
        ordered, order = ids.sort(stable=True)
        keep = torch.ones_like(ordered, dtype=torch.bool)
        keep[1:] = ordered[1:] != ordered[:-1]
        known = ordered < len(self.done)
        keep[known] &= ~self.done[ordered[known]]
        return order[keep]

    def write(self, ids: Tensor, rows: dict[str, Tensor]) -> None:
        """Write rows of growing ids, then the record that confirms them."""
        if not len(ids):
            return
        starts = torch.cat([ids.new_zeros(1), (ids.diff() != 1).nonzero()[:, 0] + 1])
        ends = torch.cat([starts[1:], ids.new_tensor([len(ids)])])
        with places.explained(
            f"rows cannot be written to {self.folder}",
            "The rows of earlier batches are kept: make room, or mend what is wrong, and call "
            "build again.",
        ):
            for name, file in self._arrays.items():
                content, size = raw(rows[name]), rows[name].size(1) * self.dtype.itemsize
                for first, start, end in zip(
                    ids[starts].tolist(), starts.tolist(), ends.tolist(), strict=True
                ):
                    file.seek(first * size)
                    write_all(file, content[start * size : end * size])
            head = _HEAD.pack(len(ids), rows_crc(rows))
            record = head + raw(ids)
            write_all(self._journal, memoryview(record + _TAIL.pack(zlib.crc32(record))))
        self._mark(ids)

    def publish(self, num_rows: int, manifest: dict[str, Any], overwrite: bool) -> None:
        """Complete the files, then move them to their final place in one step."""
        finished = "The teacher has run on all batches"
        with places.explained(
            f"the files in {self.folder} cannot be completed",
            f"{finished}, and their rows are kept there: make room, or mend what is wrong, and "
            "call build again.",
        ):
            self._complete(num_rows, manifest)
        self._release()
        with places.explained(
            f"the store cannot be moved to {self.target}",
            f"{finished}, and the store is complete in {self.folder}: TeacherStore.open reads it "
            "there. Mend what is wrong, and call build again.",
        ):
            self._exchange(overwrite)
        self._published = True

    def _complete(self, num_rows: int, manifest: dict[str, Any]) -> None:
        self.done = torch.nn.functional.pad(
            self.done[:num_rows], (0, max(0, num_rows - len(self.done)))
        )
        arrays, blocks = {}, bytearray()
        for name, width in self.plan["widths"].items():
            file = self._arrays[name]
            file.truncate(num_rows * width * self.dtype.itemsize)
            sync(file.fileno())
            part = MappedRows(self.folder / f"{name}.bin", (num_rows, width), self.dtype)
            crcs = [part.crc(block) for block in range(part.num_blocks)]
            part.close()
            arrays[name] = {"shape": [num_rows, width], "block_rows": part.block_rows}
            blocks += struct.pack(f"={len(crcs)}I", *crcs)
        small = {BLOCKS: bytes(blocks), FILLED: pack_bits(self.done)}
        for name, content in small.items():
            write_durably(self.folder / name, content)
        files: dict[str, dict[str, int]] = {
            f"{name}.bin": {"bytes": num_rows * width * self.dtype.itemsize}
            for name, width in self.plan["widths"].items()
        }
        files |= {n: {"bytes": len(c), "crc32": zlib.crc32(c)} for n, c in small.items()}
        full = {**manifest, "arrays": arrays, "files": files, "num_filled": self.num_filled}
        write_durably(self.folder / MANIFEST, render_manifest(full))
        sync_folder(self.folder)

    def _exchange(self, overwrite: bool) -> None:
        places.exchange(self.folder, self.target, overwrite, self._warned)

    def _release(self) -> None:
        """Close the files, so that Windows can move and remove them; elsewhere keep the lock."""
        for file in self._arrays.values():
            file.close()
        if fcntl is None:
            self._journal.close()

    def __enter__(self) -> "PartialStore":
        return self

    def __exit__(self, *error: object) -> None:
        """Close. Finished rows are kept for the next build; without any, the folder is removed."""
        self._release()
        if not self._published and not self.num_filled and places.is_ours(self.folder):
            with contextlib.suppress(OSError):  # it would hide the error that ended the build
                places.remove(self.folder)
        let_go(self._journal)
