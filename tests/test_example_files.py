"""The examples on named datasets, read from small files in the layout of the real ones."""

import gzip
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
TINY = ("--epochs", "1", "--seeds", "1", "--out", "out.json", "--root", "root")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, name: str, *flags: str) -> dict:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *TINY, *flags])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    result = json.loads(Path("out.json").read_text())
    scores = [result["teacher"], *(method["test"] for method in result["methods"].values())]
    assert all(np.isfinite(score["mean"]) for score in scores)
    return result


def write_ppi(folder: Path) -> None:
    """Write a node-link graph of two components, features, labels and graph numbers per split."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        graph_id = np.repeat([1, 2], 12)
        links = [{"source": i, "target": (i // 12) * 12 + (i + k) % 12}
                 for i in range(24) for k in (0, 1, 3, 9, 11)]  # fmt: skip
        graph = {"directed": True, "multigraph": False, "graph": {}, "links": links,
                 "nodes": [{"id": i} for i in range(24)]}  # fmt: skip
        (folder / f"{split}_graph.json").write_text(json.dumps(graph))
        np.save(folder / f"{split}_feats.npy", random.normal(size=(24, 5)))
        np.save(folder / f"{split}_labels.npy", random.integers(0, 2, (24, 7)))
        np.save(folder / f"{split}_graph_id.npy", graph_id)


def test_multilabel_on_ppi(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("networkx")
    write_ppi(Path("root/PPI/raw"))
    result = run(monkeypatch, "multilabel", "--dataset", "PPI", "--methods", "none", "kd+gcrd")
    assert result["title"] == "PPI, 2 graphs with 7 labels to learn from"


SMILES = [
    "CCO",
    "c1ccccc1",
    "CC(=O)O",
    "CCN",
    "C1CCCCC1",
    "CC(C)O",
    "c1ccncc1",
    "CCCl",
    "C",
    "CC#N",
]


def write_tox21(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = [",".join(f"T{k}" for k in range(12)) + ",mol_id,smiles"]
    for i in range(80):
        labels = ["" if (i + k) % 5 == 0 else str((i * 7 + k * 3) % 11 % 2) for k in range(12)]
        rows.append(",".join([*labels, f"TOX{i}", SMILES[i % 10]]))
    (folder / "tox21.csv").write_text("\n".join(rows) + "\n")


def write_lipo(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = [f"CHEMBL{i},{len(SMILES[i % 10]) / 4},{SMILES[i % 10]}" for i in range(80)]
    (folder / "Lipophilicity.csv").write_text("\n".join(["CMPD_CHEMBLID,exp,smiles", *rows, ""]))


def test_molecules_on_moleculenet(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rdkit")
    write_tox21(Path("root/MoleculeNet/tox21/raw"))
    flags = ("--batch-size", "16", "--methods", "none", "kd+gcrd")
    for more in ((), ("--known-only",)):
        result = run(monkeypatch, "molecules", "--dataset", "tox21", *flags, *more)
        assert result["metric"] == "ROC-AUC, %"
    write_lipo(Path("root/MoleculeNet/lipo/raw"))
    result = run(monkeypatch, "molecules", "--dataset", "lipo", *flags)
    assert result["metric"] == "RMSE (less is better)"
    assert 0 < result["teacher"]["mean"] < 10


def write_molhiv(folder: Path) -> None:
    """Write paths of three to six atoms, in the gzipped tables of ogb."""
    random = np.random.default_rng(0)
    sizes = random.integers(3, 7, 60)

    def table(path: str, rows: list) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(folder / path, "wt") as file:
            file.writelines(",".join(str(x) for x in np.atleast_1d(row)) + "\n" for row in rows)

    (folder / "mapping").mkdir(parents=True)
    (folder / "RELEASE_v1.txt").touch()
    table("raw/num-node-list.csv.gz", [*sizes])
    table("raw/num-edge-list.csv.gz", [*(sizes - 1)])
    table("raw/edge.csv.gz", [(i, i + 1) for n in sizes for i in range(n - 1)])
    table("raw/node-feat.csv.gz", [*random.integers(0, 2, (sizes.sum(), 9))])
    table("raw/edge-feat.csv.gz", [*random.integers(0, 2, ((sizes - 1).sum(), 3))])
    table("raw/graph-label.csv.gz", [i % 2 for i in range(60)])
    for part, ids in (("train", range(40)), ("valid", range(40, 50)), ("test", range(50, 60))):
        table(f"split/scaffold/{part}.csv.gz", [*ids])


def test_molecules_on_ogbg_molhiv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch loads weights only, as by default, and the environment gives no help."""
    pytest.importorskip("ogb")
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", raising=False)
    write_molhiv(Path("root/ogbg_molhiv"))
    flags = ("--batch-size", "16", "--methods", "none", "kd+gcrd")
    result = run(monkeypatch, "molecules", "--dataset", "ogbg-molhiv", *flags)
    assert result["title"] == "ogbg-molhiv, 40 molecules to learn from"


@pytest.mark.parametrize(("dataset", "package"), [("ogbg-molhiv", "ogb"), ("tox21", "rdkit")])
def test_a_missing_package_has_its_remedy(
    dataset: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    write_tox21(Path("root/MoleculeNet/tox21/raw"))
    with pytest.raises(SystemExit, match=r"pip install 'graphkd\[datasets\]'"):
        run(monkeypatch, "molecules", "--dataset", dataset)
