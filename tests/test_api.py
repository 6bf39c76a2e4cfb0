"""Every public name with what it takes, against tests/api.txt, which this file also writes.

python -m tests.test_api    # after a change that is meant; the diff then shows it to reviewers
"""

import difflib
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SNAPSHOT = Path(__file__).with_name("api.txt")
WRITE = "python -m tests.test_api"
MODULES = ("graphkd", "graphkd.functional", "graphkd.weights", "graphkd.diagnostics")
OF_TORCH = {"extra_repr", "get_extra_state", "reset_parameters", "set_extra_state"}
PARTS = {"graphkd.heads": ["ProjectionHead"], "graphkd.similarity": ["unit_rows"]}


def arguments(thing: Any) -> str:
    """Names and defaults, as a call shows them; the types are mypy's matter."""
    signature = inspect.signature(thing)
    own = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"]
    return str(signature.replace(parameters=own, return_annotation=signature.empty))


def methods(kind: type) -> Iterator[str]:
    """The public methods and properties that graphkd gives a class, beyond what all losses have."""
    own = [base for base in kind.__mro__ if base.__module__.split(".")[0] == "graphkd"]
    own = [base for base in own if base.__module__ != "graphkd.losses._base"]
    for name in sorted({name for base in own for name in vars(base) if name[0] != "_"} - OF_TORCH):
        thing = inspect.getattr_static(kind, name)
        if isinstance(thing, property):
            yield f".{name}"
        elif isinstance(thing, (classmethod, staticmethod)) or inspect.isfunction(thing):
            yield f".{name}{arguments(getattr(kind, name))}"


def lines() -> Iterator[str]:
    for module in (*MODULES, *PARTS):
        found = importlib.import_module(module)
        yield f"\n{module}"
        for name in PARTS.get(module) or sorted(found.__all__):
            thing = getattr(found, name)
            if inspect.isclass(thing):
                yield f"    {name}{arguments(thing)}"
                yield from (f"        {one}" for one in methods(thing))
            elif callable(thing):
                yield f"    {name}{arguments(thing)}"


def snapshot() -> str:
    head = f"The public names of graphkd and what they take. Written by: {WRITE}"
    return "\n".join([head, *lines(), ""])


def test_public_names_take_what_they_took() -> None:
    pytest.importorskip("torchmetrics")
    then, now = SNAPSHOT.read_text(encoding="utf-8"), snapshot()
    changes = "\n".join(difflib.unified_diff(then.splitlines(), now.splitlines(), n=0, lineterm=""))
    assert then == now, f"The API changed. If this is meant, run {WRITE}\n{changes}"


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot(), encoding="utf-8")
