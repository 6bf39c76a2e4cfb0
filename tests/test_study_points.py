"""The study on point clouds: blocks of tiles, two convolutions, the mean IoU, whole runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torchmetrics.classification import MulticlassJaccardIndex

import graphkd
from examples.study import data, fit, methods, models, plan, points, work

OPTIONS = {"width": 4, "layers": 2, "dropout": 0.0, "norm": "batch_norm"}


def small(root: str) -> list[list[Data]]:
    """Six tiles of four blocks; one point in fourteen belongs to no class."""
    tiles = []
    for seed in range(6):
        xyz, features, label = points.generate(seed, size=20.0)
        label = np.where(np.arange(len(label)) % 14 == 0, -1, label)
        tiles.append([*points.blocks(xyz, features, label, 10.0, 130)])
    return tiles


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(points.SETS, "Small", small)
    data.load.cache_clear()


def test_tiles_are_cut_into_parts() -> None:
    first, other = (data.problem("Small", "", seed) for seed in range(2))
    assert (first.task, first.kind, first.outputs) == ("points", "segmentation", 3)
    assert [len(first.learn), *map(len, first.held.values())] == [16, 4, 4]
    known = [torch.cat([block.y for block in problem.learn]) >= 0 for problem in (first, other)]
    assert not torch.equal(*known)
    assert all(0.05 < share.float().mean() < 0.15 for share in known)
    for part, blocks in first.held.items():
        assert all(a.y.equal(b.y) for a, b in zip(blocks, other.held[part], strict=True))
    block = first.held["test"][0]
    source, centre = block.edge_index
    assert torch.equal(centre.bincount(), torch.full((block.num_nodes,), points.NEIGHBOURS))
    distance = torch.cdist(block.pos, block.pos).fill_diagonal_(torch.inf)
    nearest = distance.topk(points.NEIGHBOURS, largest=False).values.sum()
    torch.testing.assert_close(distance[centre, source].sum(), nearest)


@pytest.mark.parametrize("name", points.CONVS)
def test_models_see_blocks_apart(name: str) -> None:
    """A block's logits do not depend on the batch around it; the tap gives the hidden states."""
    problem = data.problem("Small", "", 0)
    model = models.build(name, problem, OPTIONS).eval()
    (batch,), (alone, *_) = DataLoader(problem.learn, 16), DataLoader(problem.learn, 1)
    with graphkd.Tap(model, model.layers["node"]) as tap:
        z = model(batch)
    torch.testing.assert_close(model.gnn.out(tap.value), z)
    assert tap.value.shape == (batch.num_nodes, model.widths["node"])
    torch.testing.assert_close(model(alone), z[: alone.num_nodes])


def test_the_score_is_the_mean_iou_of_a_tile() -> None:
    problem = data.problem("Small", "", 0)
    model = models.build("DGCNN", problem, OPTIONS).eval()
    metric = MulticlassJaccardIndex(3, ignore_index=-1)
    for batch in DataLoader(problem.held["test"], 3):
        metric.update(model(batch), batch.y)
    assert fit.scores(model, problem)["test"] == pytest.approx(100 * metric.compute().item())
    assert fit.metric(problem) == "mean IoU, %"


def test_attention_is_transferred_block_by_block() -> None:
    problem = data.problem("Small", "", 0)
    (batch,) = DataLoader(problem.learn, 16)
    h_s, batch.h_node = torch.randn(2, batch.num_nodes, 4)
    batch.z_t = z = torch.randn(batch.num_nodes, 3)
    case = methods.Case(4, 4, None, methods.Teacher(torch.nn.Identity(), batch.h_node, z))
    loss, given = methods.objective("at", {"at": methods.Setting(1.0)}, case)
    value = fit.distilled(fit.Taught(loss, given, "at", case), h_s, batch, z, z.sum())
    a, b = (h.square().sum(1).split(batch.ptr.diff().tolist()) for h in (h_s, batch.h_node))
    normal = torch.nn.functional.normalize
    pairs = zip(a, b, strict=True)
    squares = sum((normal(x, dim=0) - normal(y, dim=0)).square().sum() for x, y in pairs)
    torch.testing.assert_close(value, squares / batch.num_nodes)


def run(name: str, root: Path, method: str, student: str) -> tuple[fit.Fitted, dict[str, float]]:
    limits = work.Limits(str(root), str(root / "work"), epochs=1, max_samples=64)
    options = {"lr": 0.01, "weight_decay": 0.0, "dropout": 0.0}
    teacher = options | {"width": 8, "layers": 2, "norm": "batch_norm"}
    known = work.Known(options | {"norm": "batch_norm"}, teacher, {"weight": 1.0, "dropout": 0.0})
    teacher_name = next(key for key, spec in plan.TEACHERS.items() if spec.task == "points")
    job = work.Job(name, "transductive", student, teacher_name, method)
    settings = {"weight": 1.0, "dropout": 0.0}
    model, problem, found = work.train(job, settings, 0, known, limits)
    return found, fit.scores(model, problem)


@pytest.mark.parametrize("student", [k for k, v in plan.STUDENTS.items() if v.task == "points"])
def test_every_method_runs(student: str, tmp_path: Path) -> None:
    """And one of them again with the teacher's outputs from its store, to the same numbers."""
    found = {name: run("Small", tmp_path, plan.loss_of(name), student) for name in plan.METHODS}
    assert len({fitted.validation for fitted, _ in found.values()}) > 3
    work._taught.cache_clear()
    assert run("Small", tmp_path, "kd+gcrd", student) == found["kd+gcrd"]


def write_rooms(folder: Path) -> None:
    """Write two blocks of 60 points for each area of S3DIS, in the layout of its HDF5 files."""
    h5py: Any = pytest.importorskip("h5py")
    folder.mkdir(parents=True)
    (folder / "all_files.txt").write_text("indoor3d_sem_seg_hdf5_data/ply_data_all_0.h5\n")
    rooms = [f"Area_{area}_office_1" for area in range(1, 7) for _ in range(2)]
    (folder / "room_filelist.txt").write_text("".join(f"{room}\n" for room in rooms))
    random = np.random.default_rng(0)
    with h5py.File(folder / "ply_data_all_0.h5", "w") as file:
        file["data"] = random.random((12, 60, 9), dtype=np.float32)
        file["label"] = random.integers(0, 13, (12, 60), dtype=np.uint8)


def write_lidar(folder: Path) -> None:
    """Write six tiles of 20 m in the arrays of IGN's file."""
    folder.mkdir(parents=True)
    arrays = {}
    for seed in range(6):
        xyz, intensity, label = points.generate(seed, size=20.0, density=2)
        arrays[f"tile_{seed}/xyz_cm"] = (100 * xyz).astype(np.int32)
        arrays[f"tile_{seed}/intensity"] = (1000 * intensity[:, 0]).astype(np.int32)
        arrays[f"tile_{seed}/returns"] = np.ones((len(xyz), 2), dtype=np.int32)
        arrays[f"tile_{seed}/label"] = np.array([2, 5, 6])[label]
    np.savez(folder / "ign_lidar_tiles.npz", **arrays)


def test_areas_and_lidar_tiles_are_read(tmp_path: Path) -> None:
    write_rooms(tmp_path / "S3DIS" / "raw")
    rooms = data.problem("S3DIS", str(tmp_path), 0)
    assert [len(rooms.learn), *map(len, rooms.held.values())] == [8, 2, 2]
    assert (rooms.outputs, rooms.features) == (13, 6)
    write_lidar(tmp_path / "ign_lidar")
    assert data.problem("IGN", str(tmp_path), 0).outputs == 4
    for name in ("S3DIS", "IGN"):
        found, scores = run(name, tmp_path, "kd+gcrd", "DGCNN")
        assert found.epochs == 1
        assert 0 <= scores["test"] <= 100
    with pytest.raises(SystemExit, match="belong in"):
        data.problem("IGN", str(tmp_path / "nowhere"), 0)
