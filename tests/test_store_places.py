"""TeacherStore: which process may build, where links lead, and which files may be removed."""

import json
import multiprocessing
import os
import time
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import graphkd._store.lock as lock_module
import graphkd.store as store_module
from graphkd import TeacherStore
from graphkd._store import writer
from graphkd._store.lock import claim
from tests.store_loaders import gcn, karate, live
from tests.test_store_files import Counting, build, names, stopped


def whole() -> torch.Tensor:
    data = karate()
    return live(gcn(), data.x, data.edge_index)[1]


@pytest.mark.skipif(os.name != "posix", reason="there is no lock")
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_lock_is_held_until_the_store_is_in_its_place(tmp_path, monkeypatch, overwrite) -> None:
    path, exchange = tmp_path / "store", writer.PartialStore._exchange
    if overwrite:
        build(path, teacher=gcn(1))

    def meanwhile(partial: writer.PartialStore, overwrite: bool) -> None:
        monkeypatch.undo()
        with pytest.raises(RuntimeError, match="another process is building"):
            build(path, teacher=gcn(2), overwrite=True)
        exchange(partial, overwrite)

    monkeypatch.setattr(writer.PartialStore, "_exchange", meanwhile)
    store = build(path, overwrite=overwrite)
    assert writer.PartialStore._exchange is exchange  # the function ``meanwhile`` has run
    torch.testing.assert_close(store[:].z, whole())
    assert names(tmp_path) == ["store"]


def test_what_appears_at_the_path_during_a_build_is_kept(tmp_path) -> None:
    path = tmp_path / "store"

    def forward(model: nn.Module, batch: Data) -> torch.Tensor:
        path.mkdir(exist_ok=True)
        (path / "notes.txt").write_text("mine")
        return model(batch.x, batch.edge_index)

    with pytest.raises(ValueError, match=r"put at .*store meanwhile.*Move it away"):
        build(path, forward)
    assert (path / "notes.txt").read_text() == "mine"
    path.rename(tmp_path / "theirs")
    again = Counting()
    with pytest.warns(UserWarning, match="another forward"):
        assert len(build(path, again)) == 34


def test_a_builder_that_comes_second_opens_what_the_first_finished(tmp_path, monkeypatch) -> None:
    path, calls = tmp_path / "store", []

    def late(folder: Path, recipe) -> writer.PartialStore:
        monkeypatch.setattr(store_module, "PartialStore", writer.PartialStore)
        build(path, forward).close()
        return writer.PartialStore(folder, recipe)

    def forward(model: nn.Module, batch: Data) -> torch.Tensor:
        calls.append(batch)
        return model(batch.x, batch.edge_index)

    monkeypatch.setattr(store_module, "PartialStore", late)
    torch.testing.assert_close(build(path, forward)[:].z, whole())
    assert len(calls) == 8
    assert names(tmp_path) == ["store"]


@pytest.mark.skipif(os.name != "posix", reason="there is no lock")
@pytest.mark.parametrize("what", ["moved", "replaced"])
def test_a_journal_that_was_moved_before_it_was_locked_is_not_taken(
    tmp_path, monkeypatch, what
) -> None:
    folder = tmp_path / "store.partial"

    class Late:
        LOCK_EX, LOCK_NB = lock_module.fcntl.LOCK_EX, lock_module.fcntl.LOCK_NB
        times = 0

        def flock(self, journal, flags) -> None:
            self.times += 1
            if self.times == 1:
                folder.rename(tmp_path / "store")
            if self.times == 1 and what == "replaced":
                folder.mkdir()
                (folder / "journal.bin").touch()
            real.flock(journal, flags)

    real, late = lock_module.fcntl, Late()
    monkeypatch.setattr(lock_module, "fcntl", late)
    with claim(folder) as journal:
        assert late.times == 2
        assert os.path.samestat(os.fstat(journal.fileno()), (folder / "journal.bin").stat())


FOREIGN = [
    ("manifest.json", '{"name": "my web app"}'),
    ("manifest.json", "[]"),
    ("plan.json", "my plans"),
    ("plan.json", '{"recipe": "cake"}'),
    ("h.bin", "mine"),
]


@pytest.mark.parametrize(("name", "content"), FOREIGN)
@pytest.mark.parametrize("suffix", ["", ".partial", ".replaced"])
def test_files_of_others_with_our_names_are_left_alone(tmp_path, suffix, name, content) -> None:
    folder = tmp_path / f"store{suffix}"
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match="Move it away"):
        build(tmp_path / "store", overwrite=True)
    assert (folder / name).read_text() == content
    assert names(folder) == [name]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", json.dumps({"format": 1}).encode()])
def test_a_damaged_store_can_be_replaced(tmp_path, content) -> None:
    path = build(tmp_path / "store").path
    (path / "manifest.json").unlink()
    if content is not None:
        (path / "manifest.json").write_bytes(content)
    torch.testing.assert_close(build(path, overwrite=True)[:].z, whole())
    (path / "blocks.bin").unlink()
    torch.testing.assert_close(build(path, overwrite=True)[:].z, whole())
    assert names(tmp_path) == ["store"]


def test_an_unfinished_build_with_a_damaged_plan_begins_anew(tmp_path) -> None:
    partial = stopped(tmp_path / "store")
    (partial / "plan.json").write_bytes(b"{")
    forward = Counting()
    assert len(build(tmp_path / "store", forward)) == 34
    assert forward.calls == 8


def test_a_warning_made_an_error_leaves_the_unfinished_build_and_no_lock(tmp_path) -> None:
    stopped(tmp_path / "store")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(UserWarning, match="discarded"):
            build(tmp_path / "store", teacher=gcn(1))
    forward = Counting()
    build(tmp_path / "store", forward)
    assert forward.calls == 4


@pytest.mark.parametrize("size", [0, 100, 34 * 16 * 4 - 1])
def test_a_file_that_is_cut_after_it_was_opened_is_an_error(tmp_path, size) -> None:
    path = build(tmp_path / "store").path
    store = TeacherStore.open(path)
    os.truncate(path / "h.bin", size)
    for read in (lambda: store[33], store.verify):
        with pytest.raises(ValueError, match=rf"h\.bin is damaged: it was cut to {size} bytes"):
            read()


@pytest.mark.skipif(os.name != "posix", reason="there is no lock")
def test_a_forked_worker_does_not_keep_the_lock_of_a_stopped_build(tmp_path) -> None:
    workers, calls = [], []

    def forward(model: nn.Module, batch: Data) -> torch.Tensor:
        calls.append(batch)
        if len(calls) == 3:  # some rows are written, so that the journal stays
            workers.append(
                multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            )
            workers[0].start()
            raise KeyboardInterrupt
        return model(batch.x, batch.edge_index)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "store", forward)
    try:
        assert len(build(tmp_path / "store", forward)) == 34
    finally:
        workers[0].kill()
        workers[0].join()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch) -> None:
    """As in the roots of PyG's data sets, and no folder of that name where Python runs."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    store = build("~/store")
    assert store.path == tmp_path / "store"
    torch.testing.assert_close(TeacherStore.open("~/store")[:].z, whole())
    assert names(tmp_path) == ["store"]


@pytest.mark.parametrize("kind", ["empty", "dangling", "relative", "store", "parent"])
def test_a_link_stays_and_the_store_lies_where_it_leads(tmp_path, kind) -> None:
    there, link = tmp_path / "disk" / "there", tmp_path / "link"
    path, shown = link, there
    if kind in ("empty", "store"):
        there.mkdir(parents=True)
    if kind == "store":
        build(link if link.exists() else there, teacher=gcn(1))
    if kind == "parent":
        path, shown = link / "store", there / "store"
    link.symlink_to("disk/there" if kind == "relative" else there)
    with pytest.raises(KeyboardInterrupt):
        build(path, Counting(stop_at=4), overwrite=True)
    assert names(shown.parent)[-1] == f"{shown.name}.partial"
    if kind != "store":
        message = "unfinished build is in .*partial" if kind != "empty" else "not a teacher store"
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            TeacherStore.open(path)
    store, forward = build(path, Counting(), overwrite=True), Counting()
    torch.testing.assert_close(store[:].z, whole())
    assert store.path == path
    assert link.is_symlink()
    assert names(shown.parent) == [shown.name]
    assert len(build(path, forward)) == 34
    assert forward.calls == 0
    assert names(tmp_path) == ["disk", "link"]


@pytest.mark.parametrize("name", ["store", "store.partial", "store.replaced"])
@pytest.mark.parametrize("to", ["itself", "nowhere", "a folder"])
def test_links_that_lead_nowhere_are_refused_before_the_teacher_runs(tmp_path, name, to) -> None:
    if name == "store" and to != "itself":
        return  # the store is made there
    link, forward = tmp_path / name, Counting()
    (tmp_path / "folder").mkdir()
    link.symlink_to({"itself": link, "nowhere": tmp_path / "x"}.get(to, tmp_path / "folder"))
    with pytest.raises(ValueError, match=r"Move it away|Remove it"):
        build(tmp_path / "store", forward, overwrite=True)
    assert forward.calls == 0
    assert link.is_symlink()
