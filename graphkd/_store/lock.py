"""One builder at a time: a builder locks the journal of its unfinished build."""

import importlib
import os
from io import FileIO
from pathlib import Path
from typing import Any

from graphkd._store.files import JOURNAL

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None


def claim(folder: Path) -> FileIO:
    """Make the folder and open its journal, locked if the system can."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            journal = (folder / JOURNAL).open("a+b", buffering=0)
        except FileNotFoundError:  # another builder moved or removed the folder just now
            continue
        try:
            if fcntl is None or _is_locked_here(journal, folder / JOURNAL):
                return journal
        except BlockingIOError as error:
            journal.close()
            raise RuntimeError(
                f"TeacherStore.build: another process is building {folder}. Build on one "
                "rank only, and open the store on the others after a barrier."
            ) from error
        journal.close()


def _is_locked_here(journal: FileIO, file: Path) -> bool:
    """Lock the journal; False if another builder moved or removed it before it unlocked it."""
    fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        return os.path.samestat(os.fstat(journal.fileno()), file.stat())
    except FileNotFoundError:
        return False


def let_go(journal: FileIO) -> None:
    """Unlock and close it. Forked workers of a loader hold it open, but must not keep the lock."""
    if fcntl is not None:
        fcntl.flock(journal, fcntl.LOCK_UN)
    journal.close()
