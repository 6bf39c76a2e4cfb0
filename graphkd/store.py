"""The teacher's outputs on disk, by node id: computed once, read in every epoch."""

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from graphkd._checks import check_count
from graphkd._store import build as _build
from graphkd._store.batches import Batches
from graphkd._store.files import (
    BLOCKS,
    DTYPES,
    FILLED,
    MappedRows,
    read_files,
    read_manifest,
    unpack_bits,
)
from graphkd._store.places import check_replaceable, check_store, from_home, is_taken, real_folder
from graphkd._store.requests import check_graph, check_same, requested_ids
from graphkd._store.teacher import Teacher
from graphkd._store.writer import PartialStore


class TeacherRows(NamedTuple):
    """A teacher's embeddings and logits; row k belongs to the k-th id of the request."""

    h: Tensor | None
    """Embeddings :math:`[n, d]`; None in a store of logits only."""
    z: Tensor | None
    """Logits :math:`[n, C]`; None in a store of embeddings only."""


class TeacherStore:
    r"""A teacher's embeddings and logits on disk, by node id.

    :meth:`build` makes it, :meth:`open` opens it, and ``store[n_id]`` reads rows. The files are
    memory-mapped: a store may be larger than the memory, and processes share its pages. A store is
    pickled by its path, so that it works in the workers of a DataLoader.

    ``n_id`` is an integer tensor :math:`[n]`, in any order and with repetitions, a boolean mask
    :math:`[N]`, an int (which gives one row, :math:`[d]`), or a slice. The rows are copies in the
    stored dtype, on the device of ``n_id``. Each block of a file is checked against its checksum
    when it is first read.

    Args:
        path: The folder that was given to :meth:`build`; ``~`` is the home folder.
        data: If given, the ``Data``, ``HeteroData`` or data set of graphs that the store must
            belong to. The number of nodes, the edges (in any order and format) and a sample of the
            features are compared; for a data set, its length and its first and last graph.
        num_nodes: If given, the number of nodes or graphs that the store must have.

    Raises:
        FileNotFoundError: If there is nothing at ``path``.
        ValueError: If it is not a store, is damaged, or is a store for another graph.
        IndexError: If an id to read is below 0, is N or more, or was in no batch of the build.
        TypeError: If ``n_id`` is of another type.

    Example:
        >>> import tempfile, torch, graphkd
        >>> from torch_geometric.datasets import FakeDataset
        >>> from torch_geometric.nn import GCN
        >>> data = FakeDataset(avg_num_nodes=50, num_channels=8)[0]
        >>> teacher = GCN(8, 16, num_layers=3, out_channels=4)
        >>> path = tempfile.mkdtemp() + "/teacher"
        >>> store = graphkd.TeacherStore.build(path, teacher, data, progress=False)
        >>> rows = store[torch.tensor([3, 0, 3])]
        >>> rows.h.shape, rows.z.shape, rows.h.dtype
        (torch.Size([3, 16]), torch.Size([3, 4]), torch.float16)
        >>> graphkd.TeacherStore.open(path, data)[3].z.equal(rows.z[0])
        True
    """

    def __init__(
        self, path: str | os.PathLike[str], data: Any = None, *, num_nodes: int | None = None
    ) -> None:
        self.path = from_home(path).absolute()
        self.manifest: dict[str, Any] = read_manifest(self.path)
        """The contents of the store, and how they were made."""
        self.num_nodes: int = self.manifest["num_nodes"]
        self.dtype: torch.dtype = DTYPES[self.manifest["dtype"]]
        check_graph(self.path, self.manifest, data, num_nodes)
        small = read_files(self.path, self.manifest)
        self._filled: Tensor | None = None
        if self.manifest["num_filled"] < self.num_nodes:
            self._filled = unpack_bits(small[FILLED], self.num_nodes)
        self._parts: dict[str, MappedRows] = {}
        start = 0
        for name, facts in self.manifest["arrays"].items():
            end = start + 4 * -(-facts["shape"][0] // facts["block_rows"])
            self._parts[name] = MappedRows(
                self.path / f"{name}.bin", facts["shape"], self.dtype, small[BLOCKS][start:end]
            )
            start = end

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], data: Any = None, *, num_nodes: int | None = None
    ) -> "TeacherStore":
        """Open a finished store, with the arguments and errors of the class."""
        return cls(path, data, num_nodes=num_nodes)

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        teacher: nn.Module,
        data_or_loader: Any,
        tap: str | None = "convs.1",
        dtype: torch.dtype = torch.float16,
        forward: Callable[[Any, Any], Any] | None = None,
        *,
        ids: str | Callable[[Any], Tensor] | None = None,
        node_type: str | None = None,
        num_nodes: int | None = None,
        overwrite: bool = False,
        progress: bool = True,
    ) -> "TeacherStore":
        """Run the teacher once over all nodes or graphs, and open the store of its outputs.

        The teacher runs in eval mode without gradients; its mode is restored. If a batch knows its
        seeds (as from a ``NeighborLoader``), only the seeds are kept, otherwise all rows. If an id
        comes several times, its first row counts. Nothing is at ``path`` until the store is
        complete. A build that was stopped or killed continues when it is called again with the same
        arguments; an unfinished build of another teacher or graph is discarded with a warning. A
        finished store that the same arguments made is opened as it is. Batches that can only be
        iterated over cannot be compared: such a build starts anew, and needs ``overwrite=True`` to
        replace a store.

        Args:
            path: The folder to make. The unfinished build is beside it, in ``path + ".partial"``.
            teacher: The trained model. Batches are moved to its device.
            data_or_loader: A ``Data`` or ``HeteroData`` (a full graph), a PyG loader, or any
                iterable of batches. A batch names its rows by ``n_id``; a full graph without it
                has ids 0 to N - 1. Graphs from a ``DataLoader`` that neither shuffles nor samples
                are counted in order: by graph if the teacher returns a row per graph, else by node.
            tap: The layer whose output is h, as in :class:`graphkd.Tap`; in a GNN of PyG's with two
                layers the default is the last one, whose output is z. With None, the teacher (or
                ``forward``) returns the pair (h, z), z alone for a store of logits, or (h, None)
                for a store of embeddings.
            dtype: float16, bfloat16, float32 or float64, for h and z.
            forward: A function ``forward(model, batch)``, if the call ``model(x, edge_index)``
                (``x_dict`` and ``edge_index_dict`` for ``HeteroData``) is not right. It returns
                logits for all rows of a batch, or for its seeds.
            ids: The attribute that names the rows of a batch instead of ``n_id``, or a function
                of the batch that gives the id of each row of the output.
            node_type: For ``HeteroData``, the type whose rows are kept; by default the type of the
                loader's input nodes. If the teacher has logits for other types only, the store
                holds h alone.
            num_nodes: N, if the ids are not those of the graph or loader that was passed.
            overwrite: Replace a store at ``path``, once the new one is complete.
            progress: Show a progress bar.

        Warns:
            UserWarning: If the teacher's outputs hold NaN, or the layer ``tap`` gives the logits.

        Raises:
            TypeError: If teacher, batches or outputs are not of these types.
            ValueError: If a value overflows ``dtype``, rows and ids do not match, or ``path``
                holds something else, e.g. a store that other arguments made.
            IndexError: If an id is negative, or not below N.
            RuntimeError: If another process is building there.
            OSError: If the system refuses what a build cannot do without. That is tried before the
                teacher runs. Later, as when no space is left, the rows of earlier batches are kept.
        """
        folder = real_folder(path)
        if num_nodes is not None:
            check_count("num_nodes", num_nodes, 0)
        model = Teacher(teacher, tap, forward, dtype)
        batches = Batches(data_or_loader, ids, node_type, num_nodes)
        recipe = _build.make_recipe(model, batches, forward, num_nodes)
        if overwrite:
            check_replaceable(folder)
        elif is_taken(folder):
            return cls._same(path, recipe)
        with PartialStore(folder, recipe) as partial:
            # Another process may have finished the store before this one got the lock.
            if not overwrite and is_taken(folder):
                return cls._same(path, recipe)
            _build.run(partial, model, batches, recipe, overwrite, progress)
        return cls(path)

    @classmethod
    def _same(cls, path: str | os.PathLike[str], recipe: dict[str, Any]) -> "TeacherStore":
        check_store(real_folder(path))
        store = cls(path)
        check_same(store.path, store.manifest["recipe"], recipe)
        return store

    @property
    def dim_h(self) -> int | None:
        """The width of the embeddings, or None in a store of logits only."""
        return self._width("h")

    @property
    def dim_z(self) -> int | None:
        """The width of the logits, or None in a store of embeddings only."""
        return self._width("z")

    def _width(self, name: str) -> int | None:
        arrays = self.manifest["arrays"]
        return int(arrays[name]["shape"][1]) if name in arrays else None

    def __len__(self) -> int:
        return self.num_nodes

    def __getitem__(self, n_id: Tensor | int | slice) -> TeacherRows:
        if not self._parts:
            raise ValueError(f"TeacherStore: {self.path} is closed. Open it again.")
        ids = requested_ids(n_id, self.num_nodes, self._filled)
        device = n_id.device if isinstance(n_id, Tensor) else ids.device
        rows = {name: part.gather(ids).to(device) for name, part in self._parts.items()}
        if not isinstance(n_id, Tensor | slice):
            rows = {name: part[0] for name, part in rows.items()}
        return TeacherRows(rows.get("h"), rows.get("z"))

    def verify(self) -> None:
        """Check every block now, not at its first read.

        Raises:
            ValueError: If one is damaged.
        """
        for part in self._parts.values():
            part.verify()

    def close(self) -> None:
        """Close the files. Closing twice is harmless."""
        for part in self._parts.values():
            part.close()
        self._parts = {}

    def __enter__(self) -> "TeacherStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.manifest["checksum"])

    def __repr__(self) -> str:
        shapes = ", ".join(f"{n}={f['shape']}" for n, f in self.manifest["arrays"].items())
        return f"{type(self).__name__}({str(self.path)!r}, {shapes}, dtype={self.dtype})"


def _reopen(path: Path, checksum: int) -> TeacherStore:
    store = TeacherStore(path)
    if store.manifest["checksum"] != checksum:
        raise ValueError(f"TeacherStore: {path} was replaced since it was pickled. Open it again.")
    return store
