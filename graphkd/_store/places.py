"""The folders that a build uses, moves or removes, and checks that they belong to a store."""

import contextlib
import json
import mmap
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graphkd._checks import describe
from graphkd._store.files import (
    ARRAYS,
    BLOCKS,
    FILLED,
    FORMAT,
    JOURNAL,
    MANIFEST,
    NAMES,
    PLAN,
    sync,
    sync_folder,
)

# The files of a finished store. Without the last of them, nothing opens.
_FINISHED = (*(f"{name}.bin" for name in ARRAYS), BLOCKS, FILLED, MANIFEST)


def from_home(path: str | os.PathLike[str]) -> Path:
    """The path with the home folder for a leading ``~``, as in the roots of PyG's data sets."""
    given = Path(path)
    return given.expanduser() if given.parts[:1] == ("~",) else given


def real_folder(path: str | os.PathLike[str]) -> Path:
    """The folder itself: a symbolic link stays, and the store lies where it leads."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"TeacherStore.build: path must be the folder to make; got {describe(path)}. The order "
            "is path, teacher, data_or_loader."
        )
    folder = Path(os.path.realpath(from_home(path)))
    if folder.is_symlink():
        raise ValueError(
            f"TeacherStore.build: {path} is a symbolic link that leads back to itself. Remove it, "
            "or choose another path."
        )
    return folder


def replaced_folder(folder: Path) -> Path:
    """The folder of the old store while a new one replaces it."""
    return folder.with_name(f"{folder.name}.replaced")


def read_object(file: Path) -> dict[str, Any]:
    """The object of a JSON file; an empty one if it is missing or holds something else."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan that an unfinished build began with; empty if it was killed before its first row."""
    plan = read_object(folder / PLAN)
    return plan if plan.keys() >= {"recipe", "widths"} else {}


def is_ours(folder: Path) -> bool:
    """Whether the folder holds only files of a store, and may be removed for a new one.

    Many programs write a manifest.json. The other files tell that a damaged store is one.
    """
    try:
        if folder.is_symlink() or not folder.is_dir():
            return False
        names = _names(folder)
    except OSError:  # the name is too long, or the names inside may not be read
        return False
    arrays = names & {f"{name}.bin" for name in ARRAYS}
    unfinished, finished = JOURNAL in names, BLOCKS in names and bool(arrays)
    marks = {
        MANIFEST: finished or read_object(folder / MANIFEST).get("format") == FORMAT,
        PLAN: unfinished or bool(read_plan(folder)),
    }
    known = unfinished or finished or any(marks.values()) or not names
    return names <= NAMES and known and all(marks[name] for name in marks.keys() & names)


def is_taken(folder: Path) -> bool:
    """Whether something is there; an empty folder and a half copied store count as nothing."""
    if folder.is_symlink():
        return True
    if not folder.is_dir():
        return folder.exists()
    names = _names(folder)
    half = {JOURNAL} < names <= NAMES - {MANIFEST, PLAN}
    return bool(names) and not half


def _names(folder: Path) -> set[str]:
    """The names in a folder, without the removed files that NFS keeps while somebody reads them."""
    return {entry.name for entry in folder.iterdir() if not entry.name.startswith(".nfs")}


def remove(folder: Path) -> None:
    """Remove a folder of ours. It stays if another builder took it over meanwhile."""
    # The journal goes last: after a killed removal, it marks the rest as ours.
    (folder / JOURNAL).touch()
    for name in sorted(NAMES - {JOURNAL}):
        (folder / name).unlink(missing_ok=True)
    (folder / JOURNAL).unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def check_replaceable(folder: Path) -> None:
    """Raise a ValueError if a new store at this place would destroy anything but a store."""
    for place in (folder, replaced_folder(folder)):
        if is_taken(place) and not is_ours(place):
            raise ValueError(
                f"TeacherStore.build: {place} is not a teacher store, and overwrite=True "
                "replaces nothing else. Move it away, or choose another path."
            )


def check_store(folder: Path) -> None:
    """Raise a ValueError unless what is at this place may be a finished store."""
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"TeacherStore.build: {folder} is there already, and is not a teacher store. Move it "
            "away, or choose another path."
        )


def check_free(folder: Path, unfinished: Path) -> None:
    """Raise a ValueError if something was put at this place since the build began."""
    if is_taken(folder):
        raise ValueError(
            f"TeacherStore.build: something else was put at {folder} meanwhile; it is left "
            f"alone, and the new rows are in {unfinished}. Move it away and build again."
        )


@contextlib.contextmanager
def explained(what: str, remedy: str) -> Iterator[None]:
    """Let an error of the system say what failed, and what to do."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        why += f" ({error.filename})" if error.filename else ""
        message = f"TeacherStore.build: {what}: {why}. {remedy}"
        raise OSError(error.errno, message) from error


def try_out(parent: Path) -> list[str]:
    """Ask of the file system all that a build will ask, on a small file.

    What a build cannot do without raises an OSError. The rest is returned: what is missing, and
    what follows.
    """
    parent.mkdir(parents=True, exist_ok=True)
    trial = Path(tempfile.mkdtemp(prefix=".graphkd-", dir=parent))
    moved, missing = trial.with_name(f"{trial.name}-moved"), []
    try:
        with (trial / "new").open("a+b", buffering=0) as journal:
            journal.write(bytes(2))
            journal.truncate(1)
        (trial / "new").replace(trial / "rows")
        with (trial / "rows").open("r+b", buffering=0) as rows:
            rows.seek(mmap.PAGESIZE)
            rows.write(bytes(1))
            durable = sync(rows.fileno())
            mmap.mmap(rows.fileno(), 0, access=mmap.ACCESS_READ).close()
        if not (durable and sync_folder(trial) and sync_folder(parent)):
            missing.append(
                "it cannot confirm that all is on disk (fsync), so a power cut may damage a store "
                "that was finished just before; the checksums tell"
            )
        try:
            trial.rename(moved)
        except OSError:
            missing.append("it cannot rename a folder, so the store is copied to its place")
    finally:
        for folder in (trial, moved):
            shutil.rmtree(folder, ignore_errors=True)
    return missing


def exchange(unfinished: Path, folder: Path, overwrite: bool, warned: bool) -> None:
    """Move a complete store to its place. An old one goes when the new one is there."""
    replaced = replaced_folder(folder)
    if not overwrite or not is_ours(folder):
        check_free(folder, unfinished)
    try:
        if is_ours(replaced):  # left by a build that was killed right here
            remove(replaced)
        if is_taken(folder):
            folder.rename(replaced)
        elif folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except OSError as error:
        # A server that is asked twice for the same renaming refuses the second time.
        if unfinished.exists():
            if not warned:
                warnings.warn(
                    f"TeacherStore.build: {unfinished} cannot be renamed to {folder} "
                    f"({error.strerror or error}), so the store is copied there.",
                    stacklevel=6,
                )
            _copy(unfinished, folder, replaced)
    with contextlib.suppress(OSError):  # the store is complete, whatever else fails
        sync_folder(folder.parent)
        for name in (PLAN, JOURNAL):
            (folder / name).unlink(missing_ok=True)
        if is_ours(replaced):
            remove(replaced)


def _copy(unfinished: Path, folder: Path, replaced: Path) -> None:
    """Copy a complete store, file by file; an old one there stays until all copies are complete."""
    names = [name for name in _FINISHED if (unfinished / name).exists()]
    try:
        folder.mkdir(exist_ok=True)
        (folder / JOURNAL).touch()  # marks the folder as ours while it has no manifest
        for name in names:
            shutil.copyfile(unfinished / name, folder / f"{name}.new")
            with (folder / f"{name}.new").open("r+b") as copy:
                sync(copy.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            for name in names:
                (folder / f"{name}.new").unlink(missing_ok=True)
            if not (folder / MANIFEST).exists():
                remove(folder)
                if is_ours(replaced):
                    replaced.rename(folder)
        raise
    for name in reversed(_FINISHED):  # the manifest goes first, and comes last
        (folder / name).unlink(missing_ok=True)
    for name in names:
        (folder / f"{name}.new").replace(folder / name)
    sync_folder(folder)
    with contextlib.suppress(OSError):
        remove(unfinished)
