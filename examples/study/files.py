"""Data sets by name, as they come: read from their files, downloaded if need be, or generated.

A name is that of a class of PyG's, with the set's own name behind a colon if the class has several:
"Planetoid:Cora", "WikiCS", "TUDataset:PROTEINS", "LRGBDataset:Peptides-func". The usual short names
work too ("Cora", "Photo"), as do those of ogb ("ogbn-arxiv", "ogbg-molhiv"). "Digits" ships inside
scikit-learn; "Papers", of several node types, "Tiles" of points, "Molecules", and "Communities" of
nodes with several labels are generated; "IGN" are LiDAR tiles, and "S3DIS" is cut by its areas.
Other arguments of a class follow: "UPFD:politifact,feature=bert", "FakeDataset:num_graphs=9".
Files lie in ROOT/CLASS, those of ogb in ROOT/NAME.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric.datasets
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph
from torch_geometric.data import Data, Dataset
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage
from torch_geometric.utils import from_scipy_sparse_matrix, to_undirected

from . import hetero, points
from .generated import communities, molecules
from .graphs import PARTS
from .names import arguments

SHORT = {
    **{name: f"Planetoid:{name}" for name in ("Cora", "CiteSeer", "PubMed")},
    **{name: f"Amazon:{name}" for name in ("Photo", "Computers")},
    **{name: f"Coauthor:{name}" for name in ("CS", "Physics")},
    **{
        name: f"HeterophilousGraphDataset:{name}"
        for name in ("Roman-empire", "Amazon-ratings", "Minesweeper", "Tolokers", "Questions")
    },
}


def digits() -> Data:
    """The digits that ship inside scikit-learn, each image joined to the 8 with nearest pixels."""
    images, y = load_digits(return_X_y=True)
    edge_index, _ = from_scipy_sparse_matrix(kneighbors_graph(images, n_neighbors=8))
    x = torch.tensor(images / 16, dtype=torch.float)
    return Data(x=x, y=torch.tensor(y), edge_index=to_undirected(edge_index))


GENERATED: dict[str, Callable[[], dict[str, list[Any]]]] = {
    "Digits": lambda: {"all": [digits()]},
    "Papers": lambda: {"all": [hetero.papers()]},
    "Communities": communities,
    "Molecules": molecules,
}


# The modules that the extra "datasets" installs.
EXTRA = {"h5py", "ogb", "pandas", "rdkit"}


@contextmanager
def _seeded() -> Iterator[None]:
    """Sets that PyG draws at random are the same in every process, and later draws as ever."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@_seeded()
def read(name: str, root: str) -> dict[str, list[Any]]:
    """The graphs of a data set: under "all", or by part if it comes in parts.

    Raises:
        SystemExit: If no such set is known, or its files are neither there nor to be had.
    """
    if name in GENERATED:
        return GENERATED[name]()
    kind, _, own = SHORT.get(name, name).partition(":")
    try:
        if kind in points.SETS:
            return points.parts(kind, root)
        if kind.startswith("ogb"):
            return _ogb(kind, root)
        if not inspect.isclass(make := getattr(torch_geometric.datasets, kind, None)):
            raise SystemExit(f"{name} is no data set of PyG's, and no short name of one.")
        needs = inspect.signature(make).parameters
        given: dict[str, Any] = {"root": str(Path(root) / kind)} if "root" in needs else {}
        given |= {"hetero": True} if "hetero" in needs else {}
        pieces = own.split(",")
        own = "" if "=" in pieces[0] else pieces.pop(0)
        given |= arguments(",".join(pieces))
        if "name" in needs and not (own or "name" in given):
            raise SystemExit(f"{name} is several data sets: name one, as in {kind}:NAME.")
        if own:  # a name, or a flag as in "ZINC:subset"
            given |= {"name": own} if "name" in needs else {own: True}
        asked = {
            k for k, x in needs.items() if x.default is x.empty and x.kind is not x.VAR_KEYWORD
        }
        if missing := sorted(asked - given.keys()):
            lacks = ",".join(f"{argument}=VALUE" for argument in missing)
            raise SystemExit(f"{name} needs {kind}:{own + ',' * bool(own)}{lacks}.")
        make = _telling(make, name)
        return _parts(make, needs, given)
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        what = "'graphkd[datasets]'" if module in EXTRA else module
        remedy = f" Run: pip install {what}" if what else ""
        raise SystemExit(f"{name} could not be read: {error}.{remedy}") from None
    except MemoryError:
        raise
    except Exception as error:  # of PyG's, or of what reads a damaged file
        why = " ".join(str(error).split())
        usual = isinstance(error, AssertionError | OSError | RuntimeError | TypeError | ValueError)
        why = why or f"{kind} has no {own}" if usual else f"{type(error).__name__} {why}".strip()
        raise SystemExit(
            f"{name} could not be read: {why}. Its files belong in {Path(root) / kind}; if they "
            "are damaged, delete them there, with `processed`."
        ) from None


def _parts(make: type, needs: Any, given: dict[str, Any]) -> dict[str, list[Any]]:
    """The graphs of a class of data sets, called with what it needs."""
    default = {name: parameter.default for name, parameter in needs.items()}
    # "CSL" has no parts, and gives all of its graphs for each.
    parted = default.get("split", "") in ("train", "trainval", None) and "split" not in given
    if parted and given.get("name") != "CSL":
        try:
            return {part: [*make(**given, split=part)] for part in PARTS}
        except ValueError:
            if default["split"] is not None:
                raise  # else the class may know other parts, or none
    if default.get("train") is True:
        return {"train": [*make(**given)], "test": [*make(**given, train=False)]}
    dataset = make(**given)
    # TUDataset leaves out attributes, without which some sets have no features.
    lacks = {
        flag: True
        for what, flag in {"x": "use_node_attr", "edge_attr": "use_edge_attr"}.items()
        if flag in needs and len(dataset) and 0 in getattr(dataset[0].get(what), "shape", ())[1:]
    }
    return {"all": [*(make(**given, **lacks) if lacks else dataset)]}


def _telling(make: type, name: str) -> type:
    """A class of data sets that says in a line where the files belong that it cannot download."""
    if getattr(make, "download", Dataset.download) is Dataset.download:
        return make

    def download(self: Any) -> None:
        try:
            make.download(self)
        except Exception as error:  # of whatever kind: the network's, the server's, an archive's
            files = self.raw_file_names
            files = [files] if isinstance(files, str) else files
            raise SystemExit(
                f"{name} could not be downloaded: {error}. "
                f"Put {', '.join(map(str, files))} into {self.raw_dir}, or pass another --root."
            ) from None

    return type(make.__name__, (make,), {"download": download})


def _ogb(name: str, root: str) -> dict[str, list[Any]]:
    if name == "ogbn-mag":
        raise SystemExit("ogbn-mag has several node types: use OGB_MAG.")
    if not name.startswith(("ogbn-", "ogbg-")):
        raise SystemExit(f"{name}: of ogb's sets, those of nodes (ogbn-) and graphs (ogbg-) fit.")
    from ogb.graphproppred import PygGraphPropPredDataset
    from ogb.nodeproppred import PygNodePropPredDataset

    # torch 2.6 and newer loads ogb's processed files only if these classes are allowed.
    with torch.serialization.safe_globals([Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]):
        if name.startswith("ogbg"):
            dataset = _telling(PygGraphPropPredDataset, name)(name, root)
            parts = dataset.get_idx_split().values()
            return {part: [*dataset[ids]] for part, ids in zip(PARTS, parts, strict=True)}
        dataset = _telling(PygNodePropPredDataset, name)(name, root)
    data = dataset[0]
    for part, ids in zip(PARTS, dataset.get_idx_split().values(), strict=True):
        data[f"{part}_mask"] = torch.zeros(data.num_nodes, dtype=torch.bool)
        data[f"{part}_mask"][ids] = True
    return {"all": [data]}
