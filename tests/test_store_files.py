"""TeacherStore on disk: killed builds, damaged and foreign files, other graphs and teachers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import Data

from graphkd import TeacherStore
from tests.store_loaders import gcn, karate, khop_batches, live

FILES = ["blocks.bin", "filled.bin", "h.bin", "manifest.json", "z.bin"]
PARTS = 8


class Counting:
    """Calls the teacher, and stops at a batch with an error or by killing the process."""

    def __init__(self, stop_at: int = -1, kill: bool = False) -> None:
        self._calls, self._stop_at, self._kill = 0, stop_at, kill  # private: not compared

    @property
    def calls(self) -> int:
        return self._calls

    def __call__(self, model: nn.Module, batch: Data) -> torch.Tensor:
        if self._calls == self._stop_at:
            if self._kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        self._calls += 1
        return model(batch.x, batch.edge_index)


def build(path: Path, forward=None, source=None, teacher=None, **options) -> TeacherStore:
    options = {"dtype": torch.float32, "progress": False, "num_nodes": 34, **options}
    source = khop_batches(karate(), PARTS) if source is None else source
    return TeacherStore.build(path, teacher or gcn(), source, forward=forward, **options)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def contents(store: TeacherStore) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in store.path.iterdir() if f.suffix == ".bin"}


def test_a_store_is_five_files_and_its_build_leaves_no_others(tmp_path) -> None:
    store = build(tmp_path / "deep" / "store")
    assert names(store.path) == FILES
    assert names(store.path.parent) == ["store"]
    assert store.manifest["made_by"].keys() == {"graphkd", "torch", "date"}
    assert store.manifest["recipe"]["tap"] == "convs.1"
    assert "34, 16" in repr(store)


def test_a_build_killed_midway_is_not_opened_and_is_resumed(tmp_path) -> None:
    script = """
        import sys
        from pathlib import Path
        from tests.test_store_files import Counting, build
        build(Path(sys.argv[1]), Counting(stop_at=5, kill=True))
    """
    path = tmp_path / "store"
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(FileNotFoundError, match="unfinished build"):
        TeacherStore.open(path)
    with pytest.raises(ValueError, match="not a teacher store"):
        TeacherStore.open(f"{path}.partial")
    forward = Counting()
    resumed = build(path, forward)
    assert forward.calls == PARTS - 5
    assert contents(resumed) == contents(build(tmp_path / "whole", Counting()))
    assert names(path) == FILES
    assert names(tmp_path) == ["store", "whole"]


def stopped(path: Path, at: int = 4) -> Path:
    with pytest.raises(KeyboardInterrupt):
        build(path, Counting(stop_at=at))
    return path.with_name(path.name + ".partial")


@pytest.mark.parametrize("name", ["h.bin", "z.bin", "journal.bin"])
@pytest.mark.parametrize("damage", ["cut", "flip", "zero"])
def test_rows_that_were_torn_are_computed_again(tmp_path, name, damage) -> None:
    file = stopped(tmp_path / "store") / name
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) * 2 // 3]
    elif damage == "flip":
        content[len(content) // 2] ^= 1
    else:
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    file.write_bytes(content)
    forward = Counting()
    resumed = build(tmp_path / "store", forward)
    assert PARTS - 4 < forward.calls <= PARTS
    assert contents(resumed) == contents(build(tmp_path / "whole", Counting()))


def test_resuming_twice_and_in_another_order(tmp_path) -> None:
    path = tmp_path / "store"
    stopped(path, at=2)
    stopped(path, at=3)  # three more batches: the first two do not run again
    forward = Counting()
    resumed = build(path, forward, source=khop_batches(karate(), PARTS)[::-1])
    assert forward.calls == PARTS - 5
    _, z = live(gcn(), karate().x, karate().edge_index)
    torch.testing.assert_close(resumed[:].z, z)


def test_an_unfinished_build_of_something_else_is_discarded(tmp_path) -> None:
    path = tmp_path / "store"
    for change in (
        {"teacher": gcn(1)},
        {"tap": "convs.0"},
        {"tap": None},
        {"dtype": torch.float64},
    ):
        stopped(path)
        forward = Counting()
        with pytest.warns(UserWarning, match="of another .*; it is discarded"):
            store = build(path, forward, **change)
        assert forward.calls == PARTS
        assert contents(store) == contents(build(tmp_path / "whole", Counting(), **change))
        for folder in (path, tmp_path / "whole"):
            shutil.rmtree(folder)


def test_one_process_builds_at_a_time(tmp_path) -> None:
    path = tmp_path / "store"

    def nested(model: nn.Module, batch: Data) -> torch.Tensor:
        with pytest.raises(RuntimeError, match="another process is building"):
            build(path)
        return model(batch.x, batch.edge_index)

    assert len(build(path, nested)) == 34


def test_a_finished_store_is_opened_refused_or_replaced(tmp_path) -> None:
    path, forward = tmp_path / "store", Counting()
    old = build(path, forward)
    before = contents(old)
    again = Counting()
    assert contents(build(path, again)) == before
    assert again.calls == 0
    with pytest.raises(ValueError, match="built with another teacher, dtype"):
        build(path, Counting(), teacher=gcn(1), dtype=torch.float64)
    assert contents(TeacherStore.open(path)) == before
    with pytest.raises(KeyboardInterrupt):
        build(path, Counting(stop_at=3), teacher=gcn(1), overwrite=True)
    assert contents(TeacherStore.open(path)) == before
    new = build(path, Counting(), teacher=gcn(1), overwrite=True)
    _, z = live(gcn(1), karate().x, karate().edge_index)
    torch.testing.assert_close(new[:].z, z)
    assert old[:].z.shape == (34, 4)  # open files outlive their names
    assert names(tmp_path) == ["store"]


def test_an_edited_forward_is_another_one(tmp_path) -> None:
    build(tmp_path / "store", lambda model, batch: model(batch.x, batch.edge_index))
    with pytest.raises(ValueError, match="another forward"):
        build(tmp_path / "store", lambda model, batch: model(2 * batch.x, batch.edge_index))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "store", source=khop_batches(karate())[:3]).path


def opens_and_reads(path: Path) -> None:
    with TeacherStore.open(path) as store:
        store.verify()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.integers(min_value=0), st.integers(1, 255))
def test_any_flipped_byte_is_found(finished, name: str, place: int, flip: int) -> None:
    file = finished / name
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[place % len(whole)] ^= flip
    try:
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="TeacherStore"):
            opens_and_reads(finished)
    finally:
        file.write_bytes(whole)
    opens_and_reads(finished)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "longer", "foreign"])
def test_missing_cut_and_foreign_files_are_found(finished, tmp_path, name, damage) -> None:
    path = tmp_path / "store"
    shutil.copytree(finished, path)
    content = (path / name).read_bytes()
    (path / name).unlink()
    if damage != "missing":
        new = {"empty": b"", "cut": content[:-1], "longer": content + b"\0", "foreign": b"[1]"}
        (path / name).write_bytes(new[damage])
    with pytest.raises(ValueError, match="TeacherStore"):
        opens_and_reads(path)


def test_a_damaged_block_is_found_at_its_first_read_and_no_later(tmp_path) -> None:
    wide = nn.Sequential(nn.Linear(8, 4096))
    source, options = (
        Data(x=karate().x),
        {"tap": None, "forward": lambda model, data: model(data.x)},
    )
    store = build(tmp_path / "store", source=source, teacher=wide, **options)
    file = store.path / "z.bin"
    content = bytearray(file.read_bytes())
    content[20 * 4 * 4096] ^= 1
    file.write_bytes(content)
    damaged = TeacherStore.open(store.path)
    assert damaged[:20].z.shape == (20, 4096)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"z\.bin is damaged: rows 20"):
            damaged[torch.tensor([33, 20])]
    assert torch.isfinite(damaged[torch.tensor([33])].z).all()


def test_ids_that_no_batch_delivered_are_refused(finished) -> None:
    store = TeacherStore.open(finished)
    seeds = torch.cat([batch.n_id[: batch.batch_size] for batch in khop_batches(karate())[:3]])
    _, z = live(gcn(), karate().x, karate().edge_index)
    torch.testing.assert_close(store[seeds].z, z[seeds])
    missing = sorted(set(range(34)) - set(seeds.tolist()))
    assert missing
    for i in missing:
        with pytest.raises(IndexError, match=f"holds {i}, which no batch"):
            store[torch.tensor([int(seeds[0]), i])]


def test_foreign_places_are_refused_and_left_alone(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing at"):
        TeacherStore.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text(json.dumps({"format": "else"}))
    for name in ("file", "folder", "other"):
        for call in (TeacherStore.open, build):
            with pytest.raises(ValueError, match="not a teacher store"):
                call(tmp_path / name)
    for name in ("file", "folder"):
        with pytest.raises(ValueError, match="replaces nothing else"):
            build(tmp_path / name, overwrite=True)
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        build(tmp_path / "store")
    assert (tmp_path / "folder" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "store.partial" / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert len(build(tmp_path / "empty")) == 34


def test_a_store_for_another_graph_is_refused(tmp_path) -> None:
    data = karate()
    path = build(tmp_path / "store", source=data, num_nodes=None).path
    assert len(TeacherStore.open(path, data, num_nodes=34)) == 34
    fewer = Data(x=data.x, edge_index=data.edge_index[:, 1:])
    moved = data.edge_index.clone()
    moved[0, 0] = 33
    for other, what in (
        (fewer, "edges"),
        (Data(x=data.x, edge_index=moved), "edges"),
        (Data(x=2 * data.x, edge_index=data.edge_index), "features"),
        (Data(x=torch.randn(40, 8), edge_index=data.edge_index), "nodes, features"),
    ):
        with pytest.raises(ValueError, match=f"another graph: its {what}"):
            TeacherStore.open(path, other)
    bare = build(tmp_path / "bare").path
    assert len(TeacherStore.open(bare, data)) == 34
    with pytest.raises(ValueError, match="another graph: its nodes"):
        TeacherStore.open(bare, Data(num_nodes=35))
    with pytest.raises(TypeError, match="num_nodes="):
        TeacherStore.open(path, 34)
