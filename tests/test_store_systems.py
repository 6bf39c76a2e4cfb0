"""TeacherStore on file systems that lack something, or fail: no finished run is lost."""

import errno
import mmap
import os
import shutil
import stat
import warnings
from pathlib import Path

import pytest
import torch

import graphkd._store.lock as lock_module
from graphkd import TeacherStore
from tests.store_loaders import gcn, karate, khop_batches
from tests.test_store_files import PARTS, Counting, build, names, stopped
from tests.test_store_places import whole

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the faults of POSIX systems")
SYSTEM = {name: getattr(os, name) for name in ("rename", "fsync", "rmdir", "mkdir")}


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def failing(number: int, when=lambda *args: True, call=None):
    """A system call that fails with this error where ``when`` says so."""

    def instead(*args, **options):
        if when(*args):
            raise OSError(number, os.strerror(number))
        return call(*args, **options)

    return instead


def own(caught) -> list[warnings.WarningMessage]:
    """The warnings that are not of PyG or torch on a newer Python."""
    return [one for one in caught if one.category is UserWarning]


def no_locks(patch, number: int) -> None:
    patch.setattr(lock_module.fcntl, "flock", failing(number))


def no_folder_sync(patch, number: int) -> None:
    patch.setattr(os, "fsync", failing(number, is_folder, SYSTEM["fsync"]))


def no_sync(patch, number: int) -> None:
    patch.setattr(os, "fsync", failing(number))


def no_folder_renames(patch, number: int) -> None:
    patch.setattr(os, "rename", failing(number, lambda a, b: Path(a).is_dir(), SYSTEM["rename"]))


def nothing_at_all(patch, number: int) -> None:
    for lacking in (no_locks, no_sync, no_folder_renames):
        lacking(patch, number)


LACKING = [
    (no_locks, errno.ENOSYS, "no locks"),
    (no_locks, errno.ENOLCK, "no locks"),
    (no_locks, errno.EOPNOTSUPP, "no locks"),
    (no_folder_sync, errno.EINVAL, "fsync"),
    (no_folder_sync, errno.ENOTSUP, "fsync"),
    (no_sync, errno.ENOSYS, "fsync"),
    (no_folder_renames, errno.EXDEV, "cannot rename a folder"),
    (no_folder_renames, errno.EPERM, "cannot rename a folder"),
    (nothing_at_all, errno.EOPNOTSUPP, "fsync.*cannot rename.*no locks"),
]


@pytest.mark.parametrize(("lacking", "number", "message"), LACKING)
def test_a_build_goes_on_without_what_is_missing(
    tmp_path, monkeypatch, lacking, number, message
) -> None:
    path = tmp_path / "store"
    old = build(path, teacher=gcn(1))
    stopped(tmp_path / "other")
    lacking(monkeypatch, number)
    for target, options in ((path, {"overwrite": True}), (tmp_path / "other", {})):
        forward = Counting()
        with pytest.warns(UserWarning, match=message) as caught:
            store = build(target, forward, **options)
        assert len(own(caught)) == 1
        assert forward.calls == (PARTS if options else PARTS - 4)
        store.verify()
        torch.testing.assert_close(store[:].z, whole())
        assert names(target) == ["blocks.bin", "filled.bin", "h.bin", "manifest.json", "z.bin"]
    assert names(tmp_path) == ["other", "store"]
    assert old[:].z.isfinite().all()  # its files outlive their names


def refuse_append(patch) -> None:
    def instead(file, mode="r", *args, **options):
        if "a" in mode:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(file, mode, *args, **options)

    opened = Path.open
    patch.setattr(Path, "open", instead)


REFUSED = {
    "read-only": lambda p: p.setattr(os, "mkdir", failing(errno.EROFS)),
    "no append": refuse_append,
    "no maps": lambda p: p.setattr(mmap, "mmap", failing(errno.ENODEV)),
    "no renaming": lambda p: p.setattr(os, "replace", failing(errno.EPERM)),
    "full": lambda p: p.setattr(os, "fsync", failing(errno.ENOSPC)),
    "lock daemon": lambda p: p.setattr(lock_module.fcntl, "flock", failing(errno.EIO)),
}


@pytest.mark.parametrize("lacking", REFUSED.values(), ids=REFUSED)
def test_what_a_build_needs_is_tried_before_the_teacher_runs(
    tmp_path, monkeypatch, lacking
) -> None:
    forward = Counting()
    with monkeypatch.context() as patch:
        lacking(patch)
        with pytest.raises(OSError, match=r"store cannot be built: .*not run yet\. Choose another"):
            build(tmp_path / "store", forward)
    assert forward.calls == 0
    assert len(build(tmp_path / "store", forward)) == 34
    assert names(tmp_path) == ["store"]


def test_a_store_on_a_system_without_maps_says_what_to_do(tmp_path, monkeypatch) -> None:
    path = build(tmp_path / "store").path
    monkeypatch.setattr(mmap, "mmap", failing(errno.ENODEV))
    with pytest.raises(OSError, match=r"h\.bin cannot be mapped.*Copy the store"):
        TeacherStore.open(path)


def test_files_that_are_numbered_anew_at_each_look_do_not_stop_it_for_ever(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(os.path, "samestat", lambda a, b: False)
    with pytest.raises(RuntimeError, match=r"another file whenever.*Build at another path"):
        build(tmp_path / "store")


def test_a_full_disk_stops_a_build_that_is_continued_later(tmp_path, monkeypatch) -> None:
    class Full:
        """Fails like a disk with room for some rows."""

        def __init__(self, room: int) -> None:
            self.room = room

        def __call__(self, file, content) -> None:
            self.room -= len(content)
            if self.room < 0:
                file.write(content[: len(content) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.write(content)

    path = tmp_path / "store"
    for room in (1500, 0, 700):
        with monkeypatch.context() as patch:
            patch.setattr("graphkd._store.writer.write_all", Full(room))
            with pytest.raises(OSError, match=r"cannot be written.*No space.*rows of earlier"):
                build(path, Counting())
    forward = Counting()
    torch.testing.assert_close(build(path, forward)[:].z, whole())
    assert 0 < forward.calls < PARTS


ENDS = {
    "full": ("fsync", errno.ENOSPC, lambda *args: True),
    "failing": ("fsync", errno.EIO, lambda d: not is_folder(d)),
    "quota": ("mkdir", errno.EDQUOT, lambda *args: True),
    "foreign": ("rename", errno.EACCES, lambda *args: True),
}


@pytest.mark.filterwarnings("ignore:.*so the store is copied:UserWarning")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("call", "number", "when"), ENDS.values(), ids=ENDS)
def test_a_finished_run_outlives_a_failure_at_the_end(
    tmp_path, monkeypatch, overwrite, call, number, when
) -> None:
    path, partial = tmp_path / "store", tmp_path / "store.partial"
    if overwrite:
        build(path, teacher=gcn(1))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", failing(number))

        class Last(Counting):
            def __call__(self, model, batch):
                if self.calls == PARTS - 1:
                    patch.setattr(os, call, failing(number, when, SYSTEM[call]))
                    if call == "mkdir":
                        patch.setattr(os, "rename", failing(number))
                return super().__call__(model, batch)

        with pytest.raises(OSError, match=r"cannot be (completed|moved).*has run on all.*again"):
            build(path, Last(), overwrite=overwrite)
    if overwrite:
        torch.testing.assert_close(TeacherStore.open(path)[:].z, build_z(tmp_path, 1))
    if call != "fsync":
        torch.testing.assert_close(TeacherStore.open(partial)[:].z, whole())
    forward = Last()
    torch.testing.assert_close(build(path, forward, overwrite=overwrite)[:].z, whole())
    assert forward.calls == 0
    assert names(tmp_path) == ["store"]


def build_z(folder: Path, seed: int) -> torch.Tensor:
    z = build(folder / "again", teacher=gcn(seed))[:].z
    shutil.rmtree(folder / "again")
    return z


def test_a_place_that_cannot_be_renamed_gets_a_copy(tmp_path, monkeypatch) -> None:
    """A mount point is an empty folder that can be neither removed nor replaced."""
    path = tmp_path / "store"
    path.mkdir()
    there = path.stat().st_ino
    for call in ("rename", "rmdir"):
        busy = failing(errno.EBUSY, lambda *args: path in map(Path, args), SYSTEM[call])
        monkeypatch.setattr(os, call, busy)
    for overwrite in (False, True):
        with pytest.warns(UserWarning, match=r"cannot be renamed .*so the store is copied") as told:
            store = build(path, teacher=gcn(int(overwrite)), overwrite=overwrite)
        assert len(own(told)) == 1
        assert own(told)[0].filename == build.__code__.co_filename
        torch.testing.assert_close(store[:].z, build_z(tmp_path, int(overwrite)))
        assert names(tmp_path) == ["store"]
    assert path.stat().st_ino == there


def test_a_copy_that_was_killed_is_made_again(tmp_path, monkeypatch) -> None:
    path, moves = tmp_path / "store", []

    def interrupted(self, target):
        moves.append(target)
        if len(moves) == 5:  # the plan and the trial, then two files of the copy
            raise KeyboardInterrupt
        return replace(self, target)

    replace = Path.replace
    with monkeypatch.context() as patch:
        no_folder_renames(patch, errno.EXDEV)
        patch.setattr(Path, "replace", interrupted)
        with pytest.warns(match="is copied"), pytest.raises(KeyboardInterrupt):
            build(path, Counting())
    assert "manifest.json" not in names(path)
    assert len(names(path)) > 3
    forward = Counting()
    with pytest.warns(match="is copied"):
        torch.testing.assert_close(build(path, forward)[:].z, whole())
    assert forward.calls == 0
    assert names(tmp_path) == ["store"]


def test_what_nfs_keeps_of_removed_files_is_in_nobodys_way(tmp_path) -> None:
    build(tmp_path / "store")
    for number in range(2):
        replaced = tmp_path / "store.replaced"
        replaced.mkdir(exist_ok=True)
        (replaced / f".nfs000{number}").touch()
        with pytest.warns(match="so the store is copied"):
            store = build(tmp_path / "store", teacher=gcn(number), overwrite=True)
        store.verify()


def test_batches_that_cannot_be_compared_do_not_replace_a_finished_run(
    tmp_path, monkeypatch
) -> None:
    batches = khop_batches(karate(), PARTS)
    with monkeypatch.context() as patch:
        no_folder_renames(patch, errno.EXDEV)
        patch.setattr(shutil, "copyfile", failing(errno.ENOSPC))
        with pytest.warns(match="is copied"), pytest.raises(OSError, match="complete in"):
            build(tmp_path / "store", source=iter(batches))
    with pytest.raises(ValueError, match=r"complete store, .*may be of other data\. Open it there"):
        build(tmp_path / "store", source=iter(batches))
    torch.testing.assert_close(TeacherStore.open(tmp_path / "store.partial")[:].z, whole())
