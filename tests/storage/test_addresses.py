"""What is an address and what a path; and that no secret in one is repeated."""

import builtins
import subprocess
import sys
from pathlib import Path

import pytest

from chexkeras import checks, files, storage
from chexkeras.data.datasets.registry import open_data
from chexkeras.storage import DriverMissing, Remote, drivers


@pytest.mark.parametrize("given", ["s3://bucket/nih", "s3://bucket/nih/", Path("s3://bucket/nih"), "S3://bucket/nih"])
def test_an_address_is_one_also_where_pathlib_has_joined_its_slashes(given):
    assert files.typed_place(given, "root") == Remote("s3://bucket/nih")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("file:///data/nih", "/data/nih"),
        (Path("file:///data/nih"), "/data/nih"),
        ("file://localhost/data", "/data"),
        ("images/s3:/a", "images/s3:/a"),
        ("s3", "s3"),
        ("C:/images", "C:/images"),
    ],
)
def test_a_path_is_none(given, path):
    assert storage.place(given) == Path(path)
    assert not storage.is_remote(path)


def test_a_folder_that_is_called_like_the_beginning_of_an_address_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "nih").mkdir(parents=True)
    assert storage.place(Path("s3:/nih")) == Path("s3:/nih")


@pytest.mark.parametrize(
    "given",
    [
        "s3://AKIASECRET:hidden@bucket/nih",
        Path("s3://AKIASECRET:hidden@bucket/nih"),
        "s3://hidden@bucket/nih",
        "s3://bucket/a.png?X-Amz-Signature=hidden",
        "gs://bucket/a.png?X-Goog-Signature=hidden",
        "s3://bucket/a#hidden",
        "https://hidden.example.org/a",
        "http://user:hidden@127.0.0.1/a",
        "simplecache::s3://hidden",
        "file://hidden/a",
        "s3://",
        "s3:///hidden",
        "s3://bucket/a\nhidden",
    ],
)
def test_an_address_that_is_not_read_is_refused_in_a_sentence_that_repeats_nothing_of_it(given):
    if str(given).startswith("simplecache"):
        pytest.skip("no address at all: a path with colons")
    with pytest.raises(ValueError, match=r"^root: .*address.*\.$") as refused:
        open_data(given)
    assert "hidden" not in str(refused.value)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["s3://AKIA:hidden@bucket/a", "http://127.0.0.1/hidden", "zip://hidden", "s3://", "s3:///hidden"]
)
def test_a_text_in_a_table_that_no_loader_has_seen_reaches_no_driver(url, monkeypatch):
    monkeypatch.setattr(drivers, "_driver", lambda scheme: pytest.fail("a driver was asked"))
    with pytest.raises(OSError, match="an address that is not read") as refused:
        storage.content(url, 10)
    assert "hidden" not in str(refused.value)


def test_what_reads_nothing_from_an_object_store_says_what_does():
    with pytest.raises(ValueError, match=r"--out: 's3://bucket/a.csv' is in an object store, from which .* predict"):
        checks.typed_path("s3://bucket/a.csv", "--out")
    with pytest.raises(ValueError, match="is in an object store"):
        checks.typed_path(Path("s3://bucket/a.csv"), "--out")


@pytest.mark.parametrize(
    ("url", "install"), [("s3://bucket/a", r"s3fs.*chexkeras\[remote\]"), ("gs://bucket/a", "pip install gcsfs")]
)
def test_a_missing_driver_names_what_to_install(url, install, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name.partition(".")[0] in ("fsspec", "s3fs", "gcsfs"):
            raise ImportError(name)
        return real(name, *arguments)

    storage.forget()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DriverMissing, match=install):
        open_data(url)


def test_reading_paths_of_this_machine_imports_no_driver(tmp_path):
    modules = "chexkeras.data.datasets.registry, chexkeras.inference.read_files"
    code = f"import sys; import {modules}; print('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_parts_of_an_address():
    file = Remote("s3://bucket/nih") / "images" / "a.png"
    assert (file.name, file.suffix, str(file.parent)) == ("a.png", ".png", "s3://bucket/nih/images")
    assert Remote("s3://bucket").parent == Remote("s3://bucket")
    assert storage.shared_folder(["s3://b/x/y", "s3://b/x/z/w"]) == "s3://b/x"
    assert storage.shared_folder(["s3://b/x", "s3://c/x"]) == storage.shared_folder(["s3://b", "gs://b"]) == ""
