"""The state of a run on disk, so that a run of hours that was killed goes on where it was."""

import os
import random
import time
from pathlib import Path
from typing import Any

import torch

INTERVAL = 60.0  # seconds between two states; shorter runs write none


class Checkpoint:
    """A file that holds a run's state from its first minute to its end.

    Args:
        path: The file; None keeps nothing.
        parts: What has a `state_dict`: model, optimizer and losses.
    """

    def __init__(self, path: Path | None, **parts: Any) -> None:
        self.path, self.parts = path, parts
        self.start = self.last = time.monotonic()
        self.earlier = 0.0  # seconds before the run was taken up again

    def read(self) -> dict[str, Any] | None:
        """Put the parts and the random state back, and give what else was saved."""
        if self.path is None or not self.path.exists():
            return None
        saved = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(saved["parts"][name])
        torch.set_rng_state(saved["torch"])
        random.setstate(saved["python"])
        self.earlier = saved["seconds"]
        return saved["facts"]

    def save(self, **facts: Any) -> None:
        """Write the state at the end of an epoch, unless one was written a moment ago."""
        now = time.monotonic()
        if self.path is None or now - self.last < INTERVAL:
            return
        self.last = now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        states = {name: part.state_dict() for name, part in self.parts.items()}
        random_state = {"torch": torch.get_rng_state(), "python": random.getstate()}
        seconds = self.earlier + now - self.start
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        torch.save({"parts": states, **random_state, "seconds": seconds, "facts": facts}, partial)
        partial.replace(self.path)

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)
