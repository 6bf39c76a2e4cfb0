"""One builder at a time: a builder locks the journal of its unfinished build."""

import contextlib
import errno
import importlib
import os
from io import FileIO
from pathlib import Path
from typing import Any

from graphkd._store.files import JOURNAL

# What systems answer that have no locks, or none at this place.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
# As often, another builder may have moved the journal between two calls.
_TRIES = 100
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None


def claim(folder: Path, missing: list[str] | None = None) -> FileIO:
    """Make the folder and open its journal, locked if the system can.

    If it should have locks and has none, that and what follows is added to ``missing``.
    """
    for _ in range(_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            journal = (folder / JOURNAL).open("a+b", buffering=0)
        except FileNotFoundError:  # another builder moved or removed the folder just now
            continue
        try:
            locked = _lock(journal)
            if not locked and fcntl is not None and missing is not None:
                missing.append("it has no locks (flock), so start no other build at this path")
            if not locked or _is_there(journal, folder / JOURNAL):
                return journal
        except BlockingIOError as error:
            journal.close()
            raise RuntimeError(
                f"TeacherStore.build: another process is building {folder}. Build on one "
                "rank only, and open the store on the others after a barrier."
            ) from error
        except OSError:
            journal.close()
            raise
        journal.close()
    raise RuntimeError(
        f"TeacherStore.build: {folder / JOURNAL} is another file whenever it is looked at. Other "
        "processes may build there again and again, or the file system numbers its files anew. "
        "Build at another path."
    )


def _lock(file: FileIO) -> bool:
    """Lock a file; False if the system has no locks. A BlockingIOError: another process has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _is_there(journal: FileIO, file: Path) -> bool:
    """False if another builder moved or removed the journal before it unlocked it."""
    try:
        return os.path.samestat(os.fstat(journal.fileno()), file.stat())
    except FileNotFoundError:
        return False


def let_go(journal: FileIO) -> None:
    """Unlock and close it. Forked workers of a loader hold it open, but must not keep the lock."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # it was not locked, where there are no locks
            fcntl.flock(journal, fcntl.LOCK_UN)
    journal.close()
