"""The folders that a build uses, moves or removes, and checks that they belong to a store."""

import contextlib
import json
from pathlib import Path
from typing import Any

from graphkd._store.files import BLOCKS, FORMAT, JOURNAL, MANIFEST, NAMES, PLAN


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
    if not folder.is_dir():
        return False
    names = {entry.name for entry in folder.iterdir()}
    unfinished, finished = JOURNAL in names, {BLOCKS, "z.bin"} <= names
    marks = {
        MANIFEST: finished or read_object(folder / MANIFEST).get("format") == FORMAT,
        PLAN: unfinished or bool(read_plan(folder)),
    }
    known = unfinished or finished or any(marks.values()) or not names
    return names <= NAMES and known and all(marks[name] for name in marks.keys() & names)


def is_taken(folder: Path) -> bool:
    """Whether something is there; an empty folder counts as nothing."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


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


def check_free(folder: Path, unfinished: Path) -> None:
    """Raise a ValueError if something was put at this place since the build began."""
    if is_taken(folder):
        raise ValueError(
            f"TeacherStore.build: something else was put at {folder} meanwhile; it is left "
            f"alone, and the new rows are in {unfinished}. Move it away and build again."
        )
