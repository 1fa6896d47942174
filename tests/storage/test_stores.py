"""Stores in an object store: the same bytes whoever made them, whole or none, and nothing believed unchecked."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from chexkeras import storage
from chexkeras.data.store import elsewhere
from chexkeras.data.store.prepare import prepare, prepare_part
from chexkeras.data.store.store import Store
from chexkeras.storage import Remote, drivers

pytestmark = pytest.mark.keras

# The package has a function of the same name.
module = sys.modules["chexkeras.data.store.prepare"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(tmp_path / "cache"))
    # Sixteen images a shard.
    monkeypatch.setattr(module, "_CHUNK_BYTES", 16 * 16 * 16)
    return tmp_path / "cache"


@pytest.fixture
def images(tmp_path):
    """Forty images, of which two cannot be used."""
    rows = []
    for number in range(40):
        path = tmp_path / "images" / f"image{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        rows.append({"image_id": path.stem, "path": str(path)})
    for number in (35, 4):
        Image.fromarray(np.full((16, 16), 9, np.uint8)).save(tmp_path / "images" / f"image{number:02}.png")
    return pd.DataFrame(rows)


@pytest.fixture
def url(bucket):
    """The address of a folder where nothing is."""
    return f"{bucket}/place/images.store"


OPTIONS = {"size": 16, "missing": "skip"}


@pytest.fixture
def here(images, tmp_path):
    return prepare(images, tmp_path / "here", **OPTIONS)


def in_place(url):
    try:
        return {each.removeprefix(f"{url}/"): storage.content(each, 10**6) for each in storage.files_below(Remote(url))}
    except FileNotFoundError:
        return {}


def is_that_store(store, here):
    np.testing.assert_array_equal(store.images, here.images)
    assert store.image_ids.tolist() == here.image_ids.tolist()
    assert store.left_out == here.left_out
    store.verify()
    return True


def no_decoding(monkeypatch):
    monkeypatch.setattr(module, "decode_images", lambda *_, **__: pytest.fail("images were decoded"))


def test_a_store_there_is_that_of_this_machine_in_shards(images, url, here, monkeypatch):
    store = prepare(images, url, **OPTIONS)
    assert is_that_store(store, here)
    there = in_place(url)
    assert [there[name] for name in ("manifest.json", "index.csv")] == [
        (here.folder / name).read_bytes() for name in ("manifest.json", "index.csv")
    ]
    shards = sorted(name for name in there if name.startswith("shards/"))
    assert sorted(there) == sorted(["index.csv", "manifest.json", *shards])
    assert [name[7:12] for name in shards] == ["00000", "00001", "00002"]
    whole = []
    for name in shards:
        with storage.opened(f"{url}/{name}") as opened:
            whole.append(np.load(opened, allow_pickle=False))
    np.testing.assert_array_equal(np.concatenate(whole), here.images)
    no_decoding(monkeypatch)
    assert prepare(images, url, **OPTIONS).folder == store.folder
    assert in_place(url) == there


def test_it_is_fetched_once_and_read_from_here(images, url, here, cache, monkeypatch):
    prepare(images, url, **OPTIONS)
    # Another machine.
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(cache / "other"))
    store = Store.load(url)
    assert is_that_store(store, here)
    assert (store.folder / "manifest.json").read_bytes() == (here.folder / "manifest.json").read_bytes()
    monkeypatch.setattr(elsewhere, "_fetch", lambda *_: pytest.fail("it was fetched again"))
    assert Store.load(url).folder == store.folder


def test_workers_write_side_by_side_and_the_last_one_makes_it_whole(images, url, here, cache, monkeypatch):
    for number in (3, 1):
        assert not prepare_part(images, url, (number, 3), **OPTIONS)
        with pytest.raises(FileNotFoundError, match=r"has no manifest\.json, which comes last"):
            Store.load(url)
    # One that is asked twice does no harm, nor does what an earlier number of workers left.
    assert not prepare_part(images, url, (3, 3), **OPTIONS)
    assert not prepare_part(images, url, (1, 4), **OPTIONS)
    assert prepare_part(images, url, (2, 3), **OPTIONS)
    assert is_that_store(Store.load(url), here)
    assert in_place(url)["manifest.json"] == (here.folder / "manifest.json").read_bytes()
    no_decoding(monkeypatch)
    assert prepare_part(images, url, (1, 3), **OPTIONS)
    assert not any((cache / "preparing").rglob("*.npy"))


def test_parts_of_other_images_are_not_bound_together(images, url):
    assert not prepare_part(images, url, (1, 2), **OPTIONS)
    other = images.assign(path=images["path"].iloc[::-1].tolist())
    assert not prepare_part(other, url, (2, 2), **OPTIONS)
    with pytest.raises(FileNotFoundError):
        Store.load(url)


def test_more_parts_than_shards_are_nothing_special(images, url, here):
    assert [prepare_part(images, url, (number, 5), **OPTIONS) for number in range(1, 6)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert is_that_store(Store.load(url), here)


@pytest.mark.parametrize(("folder", "part"), [("here.store", (1, 2)), ("", (0, 2)), ("", (3, 2)), ("", (1, 1001))])
def test_a_part_that_is_none_is_refused(images, url, tmp_path, folder, part):
    with pytest.raises(ValueError, match=r"part .* is none|parts are prepared for a store in an object store"):
        prepare_part(images, tmp_path / folder if folder else url, part, **OPTIONS)


@pytest.mark.parametrize("broken", ["shards/00001", "index.csv", "manifest.json"])
def test_a_half_written_store_is_none_and_the_same_call_goes_on(images, url, here, monkeypatch, broken):
    real = storage.put

    def put(place, content):
        if f"/{broken}" in place.url:
            raise ConnectionError("the store is gone")
        real(place, content)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "put", put)
        patched.setattr(storage.writing, "put", put)
        with pytest.raises(ConnectionError if broken != "manifest.json" else storage.NotUploaded, match="is gone"):
            prepare(images, url, **OPTIONS)
    assert "manifest.json" not in in_place(url)
    with pytest.raises(FileNotFoundError, match="no image store at"):
        Store.load(url)
    no_decoding(monkeypatch)
    sent = []
    monkeypatch.setattr(storage, "put", lambda place, content: sent.append(place.name) or real(place, content))
    assert is_that_store(prepare(images, url, **OPTIONS), here)
    assert len([name for name in sent if name.endswith(".npy")]) == (0 if broken != "shards/00001" else len(sent) - 1)
    assert is_that_store(Store.load(url), here)


def test_a_fetch_that_stopped_goes_on_there(images, url, here, cache, monkeypatch):
    prepare(images, url, **OPTIONS)
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(cache / "other"))
    monkeypatch.setattr(elsewhere, "_AT_ONCE", 1)
    real, asked = storage.content, []

    def content(path, most):
        if "/shards/" in path:
            asked.append(path)
            if len(asked) == 2:
                raise ConnectionError("the store is gone")
        return real(path, most)

    monkeypatch.setattr(storage, "content", content)
    with pytest.raises(ConnectionError, match="is gone"):
        Store.load(url)
    assert is_that_store(Store.load(url), here)
    # What was on its way when it stopped may be fetched twice.
    assert asked.count(asked[0]) == 1


def test_a_copy_that_was_cut_short_is_fetched_again(images, url, here, cache):
    folder = prepare(images, url, **OPTIONS).folder
    with (folder / "films.npy").open("r+b") as file:
        file.truncate(1000)
    assert is_that_store(Store.load(url), here)
    (folder / "index.csv").write_text("row,image_id\n")
    assert is_that_store(Store.load(url), here)
    assert folder.stat().st_mode & 0o077 == 0


def test_images_that_changed_make_other_shards_and_leave_the_earlier_ones(images, url):
    prepare(images, url, **OPTIONS)
    before = in_place(url)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(images["path"][20])
    store = prepare(images, url, **OPTIONS)
    assert store.images[20].ravel().tolist() == list(range(256))
    after = in_place(url)
    assert before.keys() < after.keys()
    assert len(after) == len(before) + 1


def test_other_stores_and_other_things_are_not_written_over(images, url):
    prepare(images, url, **OPTIONS)
    with pytest.raises(ValueError, match="holds another store"):
        prepare(images.head(8), url, **OPTIONS)
    storage.put(Remote(f"{url}2/notes.txt"), b"years of work")
    with pytest.raises(FileExistsError, match="holds something that is no image store"):
        prepare(images, f"{url}2", **OPTIONS)
    with pytest.raises(FileExistsError, match="is a file"):
        prepare(images, f"{url}2/notes.txt", **OPTIONS)
    with pytest.raises(FileNotFoundError, match="no image store at"):
        Store.load(f"{url}3")


def test_where_nothing_may_be_written_nothing_is_begun(images, url, monkeypatch):
    monkeypatch.setattr(module, "_images", lambda *_: pytest.fail("work was begun"))

    def refusing(place, name):
        raise PermissionError(f"{name}: no")

    monkeypatch.setattr(storage, "check_writable", refusing)
    with pytest.raises(PermissionError, match="folder: no"):
        prepare(images, url, **OPTIONS)


def with_manifest(change):
    def apply(url):
        file = Remote(f"{url}/manifest.json")
        found = json.loads(file.read_text())
        change(found)
        storage.put(file, json.dumps(found).encode())

    return apply


def changed(**values):
    return with_manifest(lambda found: found.update(values))


def first_sum(text):
    return with_manifest(lambda found: found["chunks"][0].update(pixels=text))


def shard(change):
    def apply(url):
        first = storage.files_below(Remote(f"{url}/shards"))[0]
        storage.put(Remote(first), change(storage.content(first, 10**6)))

    return apply


def without_shard(url):
    first = storage.files_below(Remote(f"{url}/shards"))[0]
    drivers._driver(url.partition(":")[0]).rm_file(first.partition("://")[2])
    storage.forget()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (first_sum("../../../../etc/passwd"), "holds no checksum that can be"),
        (first_sum("/etc/passwd"), "holds no checksum that can be"),
        (first_sum("0" * 64), "is not there, which the store's manifest names"),
        (changed(shards=["../../secret"]), "has other fields"),
        (changed(films=10**12), "does not list all its parts|that can be"),
        (changed(films="40"), "has other fields|that can be"),
        (changed(films=True, chunks=[None]), "that can be"),
        (changed(size=2**20), "that can be"),
        (changed(size=32), "is not the one that the store's manifest names"),
        (changed(chunk_films=10**8, chunks=[{"pixels": "0" * 64, "sources": "0" * 64}]), "images a part that can be"),
        (changed(chunks=["a", "b", "c"]), "no part that can be"),
        (changed(chunks=[None] * 3), "not whole"),
        (changed(index_sha256="0" * 64), "index.csv' is not the one"),
        (changed(index_sha256=""), "not whole"),
        (changed(left_out={"image01": 3}), "no reason that can be"),
        (lambda url: storage.put(Remote(f"{url}/manifest.json"), b"{" * 100_000), "is not valid JSON"),
        (lambda url: storage.put(Remote(f"{url}/manifest.json"), b"\0" * (2**24 + 1)), "more than the 16,777,216"),
        (lambda url: storage.put(Remote(f"{url}/index.csv"), b"row,image_id\n"), "index.csv' is not the one"),
        (shard(lambda content: content[:-1]), "is not the one"),
        (shard(lambda content: content + b"\0"), "is not the one"),
        (shard(lambda content: content[:-1] + bytes([content[-1] ^ 1])), "is not the one"),
        (shard(lambda content: b"\x93NUMPY\1\0" + b"\0" * (len(content) - 8)), "is not the one"),
        (without_shard, "is not there, which the store's manifest names"),
    ],
)
def test_a_hostile_store_is_refused_in_a_sentence(images, memory, cache, monkeypatch, change, told):
    url = "memory://bucket/images.store"
    prepare(images, url, **OPTIONS)
    change(url)
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(cache / "other"))
    with pytest.raises((ValueError, OSError), match=told) as refused:
        Store.load(url)
    assert "\n" not in str(refused.value)
    kept = [path for path in (cache / "other").rglob("manifest.json") if json.loads(path.read_text())["complete"]]
    assert kept == []


def test_a_manifest_of_a_gigabyte_is_not_fetched(images, memory, monkeypatch):
    url = "memory://bucket/images.store"
    prepare(images, url, **OPTIONS)
    real = storage.remote.status

    def status(path):
        found = real(path)
        return found._replace(size=2**30) if path.endswith("manifest.json") else found

    monkeypatch.setattr(storage.remote, "status", status)
    monkeypatch.setattr(storage.remote, "_part", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(ValueError, match=r"manifest\.json has 1,073,741,824 bytes"):
        Store.load(url)


def test_a_copy_needs_room(images, memory, cache, monkeypatch):
    prepare(images, "memory://bucket/images.store", **OPTIONS)
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(cache / "other"))
    monkeypatch.setattr(elsewhere.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(OSError, match="are free there"):
        Store.load("memory://bucket/images.store")


def test_the_command_prepares_parts_and_says_where_the_store_is(images, url):
    from chexkeras.cli import app

    table = images.assign(edema=[0, 1] * 20, who=range(40))
    table.to_csv(f"{images['path'][0]}.csv", index=False)
    columns = ["--image-column", "path", "--label-columns", "edema", "--patient-column", "who"]
    words = ["prepare", f"{images['path'][0]}.csv", *columns, "--size", "16", "--missing", "skip", "--store", url]
    told = []
    for part in (["--part", "1/2"], ["--part", "2/2"], [], ["--part", "3/2"], ["--part", "one"]):
        told.append(CliRunner().invoke(app, [*words, *part]))
    assert [done.exit_code for done in told] == [0, 0, 0, 2, 2], [done.output for done in told]
    assert "part 1/2 is in" in told[0].output
    assert f"store: {url}" in told[1].output
    assert "left out: image04.png (constant)" in told[2].output
    assert "copy on this machine" in told[2].output
