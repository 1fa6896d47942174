"""A server that speaks S3 on this machine's loopback, and the data of a test copied to it or into fsspec's memory."""

import logging
from pathlib import Path

import pytest

from chexkeras import storage
from chexkeras.storage import drivers

_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "a-key-of-the-tests",
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(autouse=True)
def fresh_connections(monkeypatch, tmp_path_factory):
    """No connection, list, credential or setting of this machine or of another test is used."""
    import os

    for name in list(os.environ):
        if name.startswith(("AWS_", "FSSPEC_", "BOTO_")):
            monkeypatch.delenv(name)
    empty = tmp_path_factory.getbasetemp() / "no-such-file"
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"):
        monkeypatch.setenv(name, str(empty))
    # The address at which a machine in a cloud is told its credentials is not asked.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    storage.forget()
    yield
    storage.forget()


@pytest.fixture
def no_pauses(monkeypatch):
    """The driver's own second try, and the pauses before ours, take no time."""
    monkeypatch.setattr(drivers, "PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setitem(drivers._OPTIONS["s3"]["config_kwargs"], "retries", {"total_max_attempts": 1})


@pytest.fixture(scope="session")
def server():
    """The address of a server of moto."""
    pytest.importorskip("s3fs", reason="needs the extra remote (s3fs)")
    moto = pytest.importorskip("moto.server", reason="needs moto[server], a server that speaks S3")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(server, monkeypatch):
    """Puts files on the server: ``s3(folder, "s3://bucket/place")``; credentials are in the environment."""
    for name, value in {**_VARIABLES, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    return _put


@pytest.fixture
def memory():
    """Puts files into fsspec's memory: ``memory(folder, "memory://bucket/place")``."""
    pytest.importorskip("fsspec", reason="needs the extra remote (fsspec)")
    yield _put
    drivers._driver("memory").store.clear()


@pytest.fixture(params=["s3", "memory"])
def bucket(request, tmp_path):
    """The address of an empty bucket, on the server or in memory."""
    (tmp_path / "empty").mkdir()
    scheme = request.param
    request.getfixturevalue(scheme)(tmp_path / "empty", f"{scheme}://bucket/place")
    driver = drivers._driver(scheme)
    for found in driver.find("bucket") if driver.exists("bucket") else []:
        driver.rm_file(found)
    storage.forget()
    return f"{scheme}://bucket"


def _put(folder, url):
    scheme, _, place = url.partition("://")
    driver = drivers._driver(scheme)
    bucket = place.partition("/")[0]
    if scheme == "s3" and not driver.exists(bucket):
        driver.mkdir(bucket)
    # Another test may have left files there.
    if driver.exists(place):
        driver.rm(place, recursive=True)
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            driver.pipe_file(f"{place}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    storage.forget()
    return url
