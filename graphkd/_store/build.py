"""Run the teacher over the batches, and hand its rows to the unfinished store."""

import datetime
import importlib
import shutil
import sys
import warnings
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import memory_of
from graphkd._store.batches import Batches, Selection
from graphkd._store.files import FORMAT, VERSION, dtype_name
from graphkd._store.fingerprints import (
    batches_fingerprint,
    callable_fingerprint,
    graph_fingerprint,
    ids_fingerprint,
    names_fingerprint,
    teacher_fingerprint,
)
from graphkd._store.teacher import WHERE, Forward, Teacher
from graphkd._store.writer import PartialStore

# A graph's rows are cast and written in slices of this size, to avoid a second copy.
_SLICE = 2**16
# A graph of more nodes has to be announced: such ids are rather hashes.
_SURE = 2**30
_DENSE = (
    "Renumber ids that are hashes or have large gaps: pass ids=, a function that gives their "
    "places in torch.unique of all ids."
)


def make_recipe(
    teacher: Teacher, batches: Batches, forward: Forward | None, num_nodes: int | None
) -> dict[str, Any]:
    """All that is known to change the rows: two equal recipes make equal stores."""
    nodes = getattr(getattr(batches.source, "input_data", None), "node", None)
    return {
        "teacher class": type(teacher.model).__qualname__,
        "teacher": teacher_fingerprint(teacher.model),
        "tap": teacher.tap,
        "dtype": dtype_name(teacher.dtype),
        "forward": callable_fingerprint(forward),
        "ids": callable_fingerprint(batches.ids),
        "node_type": batches.node_type,
        "num_nodes": num_nodes,
        "graph": None if batches.origin is None else graph_fingerprint(batches.origin),
        "n_id": None if batches.graph is None else names_fingerprint(batches.graph),
        "list of batches": batches_fingerprint(batches.source),
        "input nodes": None if nodes is None else ids_fingerprint(nodes),
    }


def run(
    partial: PartialStore,
    teacher: Teacher,
    batches: Batches,
    recipe: dict[str, Any],
    overwrite: bool,
    progress: bool,
) -> None:
    """Build the store, starting where an earlier build of it was stopped."""
    from graphkd import __version__

    batches.counted = partial.plan.get("rows")
    bar = importlib.import_module("tqdm").tqdm(
        total=batches.total_rows(),
        desc="teacher",
        unit="row",
        unit_scale=True,
        disable=not progress,
    )
    num_rows = batches.total_rows()
    if num_rows is not None:
        _check_count(num_rows)
    with bar, teacher.in_eval_mode():
        for batch in batches:
            bar.total = batches.total_rows()
            bar.update(_add(partial, teacher, batches, batch, recipe))
    if not partial.plan:
        raise ValueError(f"{WHERE}: there was no batch. Pass a loader that yields some.")
    ids = partial.done.nonzero()
    num_rows = batches.total_rows()
    if num_rows is None:
        num_rows = int(ids[-1]) + 1 if len(ids) else 0
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "byteorder": sys.byteorder,
        "num_nodes": num_rows,
        "node_type": batches.node_type,
        "dtype": recipe["dtype"],
        "recipe": recipe,
        "made_by": {
            "graphkd": __version__,
            "torch": torch.__version__,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        },
    }
    partial.publish(num_rows, manifest, overwrite)


def _add(
    partial: PartialStore, teacher: Teacher, batches: Batches, batch: Any, recipe: dict[str, Any]
) -> int:
    """Run the teacher on a batch, unless its rows are done; gives the number of its kept rows."""
    selection = batches.select(batch, None)
    if selection is not None:
        todo = _todo(partial, batches, selection)
        if not len(todo) and partial.plan:
            return len(selection.ids)
    outputs = teacher.outputs(batch, batches.node_type)
    if selection is None:
        selection = batches.select(batch, next(reversed(outputs.values())).size(0))
        assert selection is not None  # the number of rows is known now
        todo = _todo(partial, batches, selection)
    if outputs.keys() == {"h", "z"} and hasattr(batch, "node_types"):
        z = outputs["z"]
        if partial.plan:  # what the first batch had counts for all
            absent = "z" not in partial.plan["widths"]
        elif teacher.typed:
            absent = False
        else:
            absent = batches.of_another_type(batch, len(z), selection.fits(z))
        if absent:
            del outputs["z"]
    widths = {name: output.size(1) for name, output in outputs.items()}
    for name, output in outputs.items():
        selection.check(name, output)
    if not partial.plan:
        shapes = [output.shape for output in outputs.values()]
        alike = len(shapes) == 2 and shapes[0] == shapes[1]
        if teacher.tap and alike and outputs["h"].cpu().equal(outputs["z"].cpu()):
            warnings.warn(
                f"{WHERE}: the layer {teacher.tap!r} gives the logits, so that h is z. Pass tap= "
                "a layer before it, or tap=None for a store of logits.",
                stacklevel=4,
            )
        plan = {"recipe": recipe, "widths": widths, "rows": batches.counted}
        partial.begin(plan, batches.total_rows())
    elif partial.plan["widths"] != widths:
        raise ValueError(
            f"{WHERE}: the teacher's outputs have the widths {widths}, and had "
            f"{partial.plan['widths']} before. Every batch must give the same."
        )
    if batches.total_rows() is None and len(todo):
        _check_disk(partial, int(selection.ids[todo].max()))
    for some in torch.split(todo, _SLICE):
        rows = {n: teacher.cast(n, selection.of(output, some)) for n, output in outputs.items()}
        partial.write(selection.ids[some], rows)
    return len(selection.ids)


def _check_count(num_rows: int) -> None:
    """Raise a ValueError if some bytes for each row do not fit into memory."""
    if 6 * num_rows > memory_of(torch.device("cpu")):
        raise ValueError(
            f"{WHERE}: a store of num_nodes={num_rows} rows is too large for this machine. {_DENSE}"
        )


def _check_disk(partial: PartialStore, largest: int) -> None:
    """Raise a ValueError if the rows up to this id are more than the whole disk holds."""
    size = (largest + 1) * sum(partial.plan["widths"].values()) * partial.dtype.itemsize
    total = shutil.disk_usage(partial.folder).total
    if size > total:
        raise ValueError(
            f"{WHERE}: a batch holds the id {largest}. A store has a row for each id up to it, "
            f"{size / 2**30:.4g} GiB, and the disk of {partial.folder} has {total / 2**30:.4g} "
            f"GiB. {_DENSE}"
        )


def _todo(partial: PartialStore, batches: Batches, selection: Selection) -> Tensor:
    limit = batches.total_rows()
    if limit is not None and len(selection.ids) and int(selection.ids.max()) >= limit:
        raise IndexError(
            f"{WHERE}: a batch holds the id {int(selection.ids.max())}, and there are {limit} "
            "nodes. Pass num_nodes= if the ids are of a larger graph."
        )
    if limit is None and len(selection.ids) and int(selection.ids.max()) >= _SURE:
        raise ValueError(
            f"{WHERE}: a batch holds the id {int(selection.ids.max())}, and a store has a row for "
            f"each id up to it. {_DENSE} If there are so many nodes, pass num_nodes=."
        )
    return partial.missing(selection.ids)
