"""Where an archive may be, who asks it, and how it proves to be the one that was named."""

import base64
import ssl

import pytest

from chexkeras.delivery import DicomWebError, WebAddress, WebArchive, WebLimits
from tests.delivery.dicomweb.conftest import Archive, send
from tests.dicom.objects.made import STUDY, film
from tests.node.conftest import certificates  # noqa: F401

LIMITS = WebLimits(tries=1, pause_seconds=0.0)
VARIABLES = ("CHEXKERAS_DICOMWEB_USER", "CHEXKERAS_DICOMWEB_PASSWORD", "CHEXKERAS_DICOMWEB_TOKEN", "NETRC")


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    "url",
    ["", "pacs", "ftp://pacs/web", "https://", "https:///web", "https://pacs:99999/web", "https://pacs/web?a=1",
     "https://pacs/web#a", "https://pacs/a b", "https://pacs:0/", "https://päcs/"],
)  # fmt: skip
def test_what_is_no_address_is_told(url):
    with pytest.raises(ValueError, match="was expected, for example"):
        WebAddress(url)


def test_a_password_in_an_address_is_not_repeated():
    with pytest.raises(ValueError, match="holds a user or password") as raised:
        WebAddress("https://doe:hunter2@pacs/web")
    assert "hunter2" not in str(raised.value)


def test_http_goes_no_further_than_this_machine_unless_it_is_allowed():
    with pytest.raises(ValueError, match="unencrypted"):
        WebAddress("http://pacs/web")
    assert WebAddress("http://pacs/web", allow_http=True).shown == "pacs"
    for host in ("127.0.0.1:8042", "localhost", "[::1]:8042"):
        assert WebAddress(f"http://{host}/web/").base == f"http://{host}/web"


def test_limits_are_checked():
    for values in ({"films": 0}, {"answer_seconds": 0.0}, {"pause_seconds": -1.0}):
        with pytest.raises(ValueError):
            WebLimits(**values)


def authorization(archive):
    with WebArchive(archive.url, LIMITS) as web:
        web.studies_of("20250102")
    return archive.asked[-1][3].get("Authorization")


def test_credentials_come_from_the_environment_or_from_netrc(archive, monkeypatch, tmp_path):
    assert authorization(archive) is None
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login nina password näh\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert authorization(archive).startswith("Basic ")
    monkeypatch.setenv("CHEXKERAS_DICOMWEB_USER", "jörg")
    with pytest.raises(ValueError, match="belong together"):
        authorization(archive)
    monkeypatch.setenv("CHEXKERAS_DICOMWEB_PASSWORD", "geheim")
    assert authorization(archive) == f"Basic {base64.b64encode('jörg:geheim'.encode()).decode()}"
    monkeypatch.setenv("CHEXKERAS_DICOMWEB_TOKEN", "abc")
    with pytest.raises(ValueError, match="both set"):
        authorization(archive)
    for name in ("CHEXKERAS_DICOMWEB_USER", "CHEXKERAS_DICOMWEB_PASSWORD"):
        monkeypatch.delenv(name)
    assert authorization(archive) == "Bearer abc"


@pytest.mark.parametrize("token", ["", "a b", "a\nX-Other: 1", "ä"])
def test_a_token_that_no_header_can_hold_is_told_and_not_repeated(archive, monkeypatch, token):
    monkeypatch.setenv("CHEXKERAS_DICOMWEB_TOKEN", token)
    with pytest.raises(ValueError, match="holds blanks or signs") as raised:
        WebArchive(archive.url)
    assert not token or token not in str(raised.value)


def test_credentials_that_are_not_taken_are_told_so_and_not_repeated(archive, monkeypatch):
    monkeypatch.setenv("CHEXKERAS_DICOMWEB_TOKEN", "hunter2hunter2")
    archive.handle = lambda handler, path: not send(handler, b"", None, 401)
    with WebArchive(archive.url, LIMITS) as web, pytest.raises(DicomWebError, match="other credentials") as raised:
        web.studies_of("20250102")
    assert "hunter2" not in str(raised.value)


def test_neither_films_nor_credentials_follow_to_another_place(archive, monkeypatch):
    monkeypatch.setenv("CHEXKERAS_DICOMWEB_TOKEN", "abc")
    other = Archive()
    try:
        archive.handle = lambda h, path: not send(h, b"", None, 307, Location=f"{other.url}/studies")
        with WebArchive(archive.url, LIMITS) as web, pytest.raises(DicomWebError, match="sends elsewhere"):
            web.studies_of("20250102")
        assert other.asked == []
    finally:
        other.stop()


def test_no_proxy_of_the_environment_is_asked(archive, monkeypatch):
    other = Archive()
    try:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{other.port}")
        with WebArchive(archive.url, LIMITS) as web:
            assert web.studies_of("20250102") == []
        assert other.asked == [] and archive.asked
    finally:
        other.stop()


@pytest.fixture
def secured(certificates):  # noqa: F811
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "node.pem", certificates / "node.key")
    made = Archive(context)
    yield made
    made.stop()


def test_a_certificate_is_trusted_if_who_signed_it_was_named(secured, certificates, tmp_path):  # noqa: F811
    secured.add(film(tmp_path / "film"))
    with WebArchive(WebAddress(secured.url, certificates / "ca.pem"), LIMITS) as web:
        (tmp_path / "into").mkdir()
        assert web.fetch([STUDY], tmp_path / "into") == 1
    # A certificate of nobody's, and another name for the same machine, which is not in the certificate.
    for url, authorities in (
        (secured.url, None),
        (secured.url, certificates / "other.pem"),
        (secured.url.replace("127.0.0.1", "localhost"), certificates / "ca.pem"),
    ):
        with WebArchive(WebAddress(url, authorities), LIMITS) as web, pytest.raises(DicomWebError) as raised:
            web.studies_of("20250102")
        assert "no certificate that can be trusted, or none of this name" in str(raised.value)
        assert "--dicomweb-ca FILE" in str(raised.value)


def test_files_of_certificates_are_checked_first(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ValueError, match="holds no certificate"):
        WebAddress("https://pacs/web", tmp_path / "ca.pem")
    with pytest.raises(FileNotFoundError):
        WebAddress("https://pacs/web", tmp_path / "none.pem")
