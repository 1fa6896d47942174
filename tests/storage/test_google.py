"""Addresses gs:// reach the driver that fsspec has for them: as gcsfs behaves, without Google."""

import io

import pytest

from chexkeras import files, storage
from chexkeras.storage import Remote, drivers


@pytest.fixture
def google(monkeypatch, tmp_path):
    """A driver in gcsfs's place that keeps files in memory, and appends what it is asked to a list."""
    fsspec = pytest.importorskip("fsspec", reason="needs the extra remote (fsspec)")
    from fsspec.implementations.memory import MemoryFileSystem

    class Upload(io.BytesIO):
        """What is being written: there when it is committed, and nowhere when it is given up."""

        def __init__(self, driver, path, autocommit):
            super().__init__()
            self.driver, self.path, self.autocommit = driver, path, autocommit

        def flush(self, force=False):
            if force and self.autocommit:
                self.driver.pipe_file(self.path, self.getvalue())

        def discard(self):
            self.driver.asked.append(("given up", self.path))

    class InMemory(MemoryFileSystem):
        protocol = "gs"
        store, pseudo_dirs, asked, refuses = {}, [""], [], False

        def __init__(self, requests_timeout=None, **options):
            super().__init__(**options)
            self.asked.append(("timeout", requests_timeout))

        @classmethod
        def _strip_protocol(cls, path):
            return MemoryFileSystem._strip_protocol(path.removeprefix("gs://"))

        def _open(self, path, mode="rb", autocommit=True, **options):
            if mode != "wb":
                return super()._open(path, mode, **options)
            if self.refuses:
                raise PermissionError("a token that nobody shall see")
            return Upload(self, path, autocommit)

        def pipe_file(self, path, value, **_):
            if self.refuses:
                raise PermissionError("a token that nobody shall see")
            super()._open(path, "wb").write(value)

    # What is registered with fsspec cannot be taken back.
    monkeypatch.setattr(fsspec, "filesystem", lambda scheme, **options: {"gs": InMemory}[scheme](**options))
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(tmp_path))
    storage.forget()
    yield InMemory
    storage.forget()


def test_files_are_written_listed_and_read(google):
    file = Remote("gs://bucket/deep/audit.json")
    files.write_json(file, {"issues": []})
    assert files.read_json(file) == {"issues": []}
    assert storage.files_below(Remote("gs://bucket")) == [file.url]
    assert drivers._driver("gs").asked[0] == ("timeout", 30)


def test_the_check_begins_an_upload_and_gives_it_up(google):
    storage.check_writable(Remote("gs://bucket/audit.json"), "--out")
    assert google.asked[-1] == ("given up", "/bucket/audit.json")
    assert google.store == {}


def test_what_it_refuses_is_said_without_its_words(google, monkeypatch):
    monkeypatch.setattr(google, "refuses", True)
    with pytest.raises(PermissionError, match=r"^--out: nothing can be written to 'gs://bucket/a.csv': ") as refused:
        storage.check_writable(Remote("gs://bucket/a.csv"), "--out")
    with pytest.raises(storage.NotUploaded, match="gives no access") as lost:
        files.write_text(Remote("gs://bucket/a.csv"), "result")
    assert lost.value.kept.read_text() == "result"
    assert not any("token" in str(error.value) for error in (refused, lost))
