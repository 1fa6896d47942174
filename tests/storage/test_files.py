"""Reading files of an object store: in parts, within limits, listed in the order of a disk."""

import shutil

import pytest

from chexkeras import files, storage
from chexkeras.inference.read_files import find_files
from chexkeras.storage import Remote, TooLarge, drivers

NAMES = ("b.txt", "a/z.txt", "a/b/c.txt", "a.txt", ".hidden/x", "c/.y", "c/d")


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    return tmp_path / "folder"


@pytest.fixture(params=["s3", "memory"])
def url(request, folder):
    return request.getfixturevalue(request.param)(folder, f"{request.param}://bucket/place")


def test_files_are_listed_in_the_order_of_a_disk(url, folder):
    on_disk = [entry.path for entry in files.entries_below(folder, print, follow_links=True)]
    below = [found.removeprefix(f"{url}/") for found in storage.files_below(Remote(url))]
    assert below == [path.removeprefix(f"{folder}/") for path in on_disk]
    here, there = find_files(folder), find_files(Remote(url))
    assert [file.url.removeprefix(f"{url}/") for file in there] == [str(path.relative_to(folder)) for path in here]
    assert storage.names_in(url) == ["a.txt", "b.txt"]
    assert [place.name for place in Remote(url).iterdir()] == [".hidden", "a", "a.txt", "b.txt", "c"]


def test_a_file_is_read_whole_or_in_parts(url, folder):
    whole = (folder / "a" / "z.txt").read_bytes()
    file = Remote(url) / "a" / "z.txt"
    assert file.read_bytes() == whole
    assert files.sha256_file(file) == files.sha256_file(folder / "a" / "z.txt")
    assert storage.head(file.url, 5) == whole[:5]
    assert storage.head(file.url, 10**9) == whole
    with storage.opened(file.url) as opened:
        opened.seek(-3, 2)
        assert opened.read() == whole[-3:]
        opened.seek(2)
        assert opened.read(4) == whole[2:6]
    assert storage.size_of(file.url) == len(whole)
    assert storage.size_of(url) == storage.size_of(f"{url}/nothing") == -1


def test_a_file_that_is_too_large_is_not_read(url, monkeypatch):
    monkeypatch.setattr(storage.remote, "_part", lambda *_: pytest.fail("it was read"))
    with pytest.raises(TooLarge, match=r"b\.txt has 5,000 bytes, more than the 4,999"):
        storage.content(f"{url}/b.txt", 4_999)


def test_what_is_not_there_is_said_to_be_so(url):
    with pytest.raises(FileNotFoundError, match="nothing at"):
        storage.content(f"{url}/nothing", 10)
    with pytest.raises(FileNotFoundError, match="nothing at"):
        storage.files_below(Remote(f"{url}/nothing"))
    with pytest.raises(IsADirectoryError):
        storage.content(url, 10)
    with pytest.raises(NotADirectoryError, match="is a file"):
        files.existing_place(Remote(f"{url}/b.txt"), "root", is_folder=True)
    with pytest.raises(FileNotFoundError, match="no file at"):
        files.existing_place(Remote(url), "root", is_folder=False)


def test_a_new_list_shows_what_came_since(url):
    before = storage.files_below(Remote(url))
    scheme, _, place = url.partition("://")
    drivers._driver(scheme).pipe_file(f"{place}/a/new", b"1")
    assert set(storage.files_below(Remote(url))) - set(before) == {f"{url}/a/new"}


def test_sizes_are_known_from_the_list(s3, folder, monkeypatch):
    found = storage.files_below(Remote(s3(folder, "s3://bucket/place")))
    driver = drivers._driver("s3")
    monkeypatch.setattr(driver, "_call_s3", lambda *_, **__: pytest.fail("the store was asked again"))
    assert [storage.size_of(url) for url in found] == [1000 * len(url.partition("place/")[2]) for url in found]
    assert storage.status(found[0]).version


def test_a_store_is_open_to_several_threads(url):
    from chexkeras.parallel import map_ordered

    found = [each for each in storage.files_below(Remote(url))] * 20
    read = list(map_ordered(lambda each: storage.content(each, 10**6), found, executor="threads", workers=8))
    assert [len(each) for each in read] == [1000 * len(each.partition("place/")[2]) for each in found]


def test_the_newest_content_changes_the_version(memory, folder):
    url = memory(folder, "memory://bucket/place")
    before = storage.status(f"{url}/b.txt")
    shutil.rmtree(folder / "a")
    (folder / "b.txt").write_bytes(b"other")
    memory(folder, "memory://bucket/place")
    assert storage.status(f"{url}/b.txt") != before
