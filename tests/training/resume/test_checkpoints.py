import errno
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from chexkeras.training.resume.checkpoints import Checkpoints, Snapshot

ROWS = [{"stage": "a", "epoch": number + 1, "val_auroc": value} for number, value in enumerate([0.6, 0.8, np.nan])]


def record(epochs, *kept):
    return {"history": ROWS[:epochs], "kept": list(kept)}


def weights(epoch):
    return {epoch: {7: np.full(3, epoch, np.float32)}}


def snapshot(value):
    return Snapshot(
        {7: np.full(3, value, np.float32), 2: np.array([value, 4], np.uint32)},
        [np.array(value, np.int64), np.array(0.1, np.float32)],
        [np.array([value])],
    )


@pytest.fixture
def three_epochs(tmp_path):
    """Checkpoints after three epochs, the second of them the best."""
    checkpoints = Checkpoints(tmp_path)
    for epoch, best in ((1, 1), (2, 2), (3, 2)):
        checkpoints.save(record(epoch, best), snapshot(epoch), weights(best))
    return checkpoints


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_and_the_best_are_kept_and_come_back_bit_for_bit(three_epochs, tmp_path):
    assert names(tmp_path) == ["best-2.npz", "history.csv", "last.npz"]
    saved = Checkpoints(tmp_path).load()
    assert json.dumps(saved.record["history"]) == json.dumps(ROWS)
    assert list(saved.snapshot.variables) == [2, 7]
    for found, expected in zip(
        [*saved.snapshot.variables.values(), *saved.snapshot.optimizer, *saved.snapshot.raw],
        [np.array([3, 4], np.uint32), np.full(3, 3, np.float32), np.int64(3), np.float32(0.1), np.array([3])],
        strict=True,
    ):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert list(saved.kept) == [2]
    np.testing.assert_array_equal(saved.kept[2][7], np.full(3, 2, np.float32))
    assert pd.read_csv(tmp_path / "history.csv")["val_auroc"].tolist()[:2] == [0.6, 0.8]


def test_several_best_epochs_are_kept_and_what_falls_behind_goes(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for epoch, kept in ((1, (1,)), (2, (2, 1)), (3, (3, 2))):
        held = {number: weights(number)[number] for number in kept}
        checkpoints.save(record(epoch, *kept), snapshot(epoch), held)
    assert names(tmp_path) == ["best-2.npz", "best-3.npz", "history.csv", "last.npz"]
    saved = Checkpoints(tmp_path).load()
    assert {number: found[7][0] for number, found in saved.kept.items()} == {3: 3.0, 2: 2.0}


def test_seconds_and_the_times_it_was_taken_up_add_up(three_epochs, tmp_path):
    again = Checkpoints(tmp_path)
    assert (again.epochs, again.resumed_after) == (3, [])
    again.load()
    assert again.resumed_after == [3]
    assert again.seconds > three_epochs.seconds - 60
    again._before = 1000.0
    again.save(record(3, 2), snapshot(3), weights(2))
    last = Checkpoints(tmp_path)
    last.load()
    assert last.resumed_after == [3, 3]
    assert last.seconds >= 1000.0


def test_without_an_epoch_there_is_nothing(tmp_path):
    assert Checkpoints(tmp_path).load() is None
    assert Checkpoints(tmp_path).load_start() is None
    assert Checkpoints(tmp_path).epochs == 0


def test_the_start_comes_back_in_the_order_of_the_variables(tmp_path):
    values = [np.full(number, number, np.float32) for number in range(12)]
    Checkpoints(tmp_path).save_start(values)
    for found, expected in zip(Checkpoints(tmp_path).load_start(), values, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("full_at", [1, 2])
def test_a_full_disk_leaves_the_epoch_before_and_says_what_to_do(three_epochs, tmp_path, monkeypatch, full_at):
    """The disk is full while the best weights are written, or once they are, while the state is."""
    real, calls = np.savez, []

    def full(handle, **arrays):
        calls.append(1)
        if len(calls) == full_at:
            handle.write(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle, **arrays)

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"after 4 epochs could not be written .*No space left.*resume=True"):
        three_epochs.save({"history": [*ROWS, ROWS[0]], "kept": [4]}, snapshot(4), weights(4))
    saved = Checkpoints(tmp_path).load()
    assert len(saved.record["history"]) == 3
    assert saved.kept[2][7][0] == 2
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("name", ["last.npz", "best-2.npz"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "code", "declared", "deep"])
def test_a_damaged_checkpoint_is_refused(three_epochs, tmp_path, name, damage):
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        # The values of variable 7, wherever the file has them.
        at = content.index(np.full(3, 3 if name == "last.npz" else 2, np.float32).tobytes())
        content[at] ^= 1
        path.write_bytes(content)
    elif damage == "missing":
        path.unlink()
    elif damage == "declared":
        # An array of a million million values that the file does not hold.
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }" % 10**15
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("record.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    elif damage == "deep":
        np.savez(path, record=np.frombuffer(b"[" * 200_000, np.uint8))
    else:
        np.savez(path, **{"variable.7": np.array([print], object), "record": np.frombuffer(b"{}", np.uint8)})
    if (name, damage) == ("last.npz", "missing"):
        assert Checkpoints(tmp_path).load() is None
        return
    with pytest.raises(ValueError, match=rf"{name} is damaged or missing .*overwrite=True"):
        Checkpoints(tmp_path).load()
