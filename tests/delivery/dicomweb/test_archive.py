"""Films from an archive and results to it: what is fetched, what is said when the archive misbehaves."""

import json
import logging
import random
import stat
import time

import pytest

from chexkeras.delivery import DicomWebError, WebArchive, WebLimits
from chexkeras.delivery.dicomweb.archive import fetched
from chexkeras.dicom.objects.source import film_identity
from chexkeras.dicom.privacy import keyed_hash
from tests.delivery.dicomweb.conftest import BOUNDARY, CR, entry, multipart, send, send_json, told_of
from tests.dicom.dicom_images import CANARY, CANARY_UID, canary_image, leaks, write
from tests.dicom.objects.made import FILM, SERIES, STUDY, film

LIMITS = WebLimits(tries=2, pause_seconds=0.0)


def opened(archive, **limits):
    return WebArchive(archive.url, WebLimits(**{"tries": 2, "pause_seconds": 0.0, **limits}))


@pytest.fixture
def one(archive, tmp_path):
    """The archive with one film; returns its path."""
    path = film(tmp_path / "one")
    archive.add(path)
    return path


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def test_films_come_as_they_are_stored_and_are_named_by_hashes(archive, one, into, tmp_path):
    archive.add(film(tmp_path / "ct", SOPInstanceUID=f"{FILM}.7"), "1.2.840.10008.5.1.4.1.1.2")
    with opened(archive) as web:
        assert web.fetch([STUDY, STUDY], into) == 1
    (path,) = into.rglob("*.dcm")
    assert path.read_bytes() == one.read_bytes()
    assert path.relative_to(into).parts == (keyed_hash(STUDY), f"{keyed_hash(FILM)}.dcm")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (headers,) = [headers for _, path, _, headers in archive.asked if path.endswith(FILM)]
    assert headers["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert headers["Host"] == f"127.0.0.1:{archive.port}" and headers["Accept-Encoding"] == "identity"


def test_a_film_that_comes_again_has_the_same_time_of_change_and_another_has_another(archive, one, into, tmp_path):
    times = []
    for change in (None, None, "Roe^Anna"):
        if change:
            archive.add(film(tmp_path / "changed", ReferringPhysicianName=change))
        with opened(archive) as web:
            web.fetch([STUDY], into)
        times.append(next(into.rglob("*.dcm")).stat().st_mtime_ns)
    assert times[0] == times[1] != times[2]


def test_studies_of_a_date_are_those_with_radiographs(archive, one, tmp_path):
    archive.add(film(tmp_path / "two", StudyInstanceUID=f"{STUDY}.2", SOPInstanceUID=f"{FILM}.2"))
    with opened(archive) as web:
        assert web.studies_of("20250102-20250103") == [STUDY, f"{STUDY}.2"]
        for date in ("yesterday", "20250230", "20250101-20251301", "20250101,20250102"):
            with pytest.raises(ValueError, match="YYYYMMDD"):
                web.studies_of(date)
    queries = [query for _, path, query, _ in archive.asked if path.endswith("studies")]
    assert {query["ModalitiesInStudy"] for query in queries} == {"CR", "DX"}
    assert {query["StudyDate"] for query in queries} == {"20250102-20250103"}


def test_long_lists_are_asked_for_page_by_page(archive, one, into, monkeypatch):
    monkeypatch.setattr("chexkeras.delivery.dicomweb.archive._PAGE", 2)
    _, content = archive.films[STUDY, SERIES, FILM]
    for at in range(4):
        archive.films[STUDY, SERIES, f"{FILM}.{at}"] = ("1.2.840.10008.5.1.4.1.1.2", content)
    with opened(archive) as web:
        assert web.fetch([STUDY], into) == 1
    offsets = [query["offset"] for _, path, query, _ in archive.asked if path.endswith("instances")]
    assert offsets == ["0", "2", "4", "5"]


def test_an_archive_that_gives_fewer_at_a_time_than_asked_is_asked_for_the_rest(archive, one, into):
    """Archives have limits of their own; a list that ended at the first short page left films out."""
    _, content = archive.films[STUDY, SERIES, FILM]
    for at in range(4):
        archive.films[STUDY, SERIES, f"{FILM}.{at}"] = ("1.2.840.10008.5.1.4.1.1.2", content)
    archive.films = dict(reversed(archive.films.items()))
    archive.most = 2
    with opened(archive) as web:
        assert web.fetch([STUDY], into) == 1


def test_a_study_without_films_is_told_and_others_are_fetched(archive, one, into, capsys):
    with opened(archive) as web:
        assert web.fetch([f"{STUDY}.9", STUDY], into) == 1
        assert "of 2 studies: 1" in " ".join(capsys.readouterr().err.split())
        with pytest.raises(DicomWebError, match="no computed or digital radiograph"):
            web.fetch([f"{STUDY}.9"], into)


def test_an_archive_that_is_busy_is_asked_again(archive, one, into):
    left = iter([503, 503])

    def busy(handler, path):
        status = next(left, None)
        if status:
            send(handler, b"", None, status)
        return bool(status)

    archive.handle = busy
    with opened(archive, tries=3) as web:
        assert web.fetch([STUDY], into) == 1


# ---- what a broken or hostile archive does: one sentence, and nothing of it stays


def redirect(to):
    return lambda handler: send(handler, b"", None, 302, Location=to)


def cut_short(handler):
    handler.close_connection = True
    send(handler, multipart(b"x" * 500)[:300], length=900)


def drip(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", f"multipart/related; boundary={BOUNDARY}")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.02)


def endless(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", f"multipart/related; boundary={BOUNDARY}")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in range(300):
        handler.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


FILMS = {
    "no login": (lambda h: send(h, b"", None, 401, WWW_Authenticate="Basic"), "asks for credentials .HTTP 401"),
    "forbidden": (lambda h: send(h, b"", None, 403), "asks for credentials .HTTP 403"),
    "not there": (lambda h: send(h, b"", None, 404), "does not have a film .HTTP 404"),
    "not as stored": (lambda h: send(h, b"", None, 406), "as it is stored"),
    "fails": (lambda h: send(h, CANARY.encode(), "text/html", 500), "did not give a film .HTTP 500"),
    "busy": (lambda h: send(h, b"", None, 503), "did not give a film .HTTP 503"),
    "a page": (lambda h: send(h, b"<html>log in</html>", "text/html"), "multipart/related was expected"),
    "nothing": (lambda h: send(h, b"", None, 204), "something else than a film"),
    "empty": (lambda h: send(h, b""), "something else than a film|in the middle of a film|sent no film"),
    "a part of it": (lambda h: send(h, multipart(b"x"), status=206), "no whole answer"),
    "no boundary": (lambda h: send(h, multipart(b"x"), "multipart/related"), "where its parts end"),
    "a long boundary": (lambda h: send(h, b"x", f"multipart/related; boundary={'b' * 71}"), "where its parts end"),
    "cut off": (cut_short, "ended in the middle of a film"),
    "no end of the parts": (lambda h: send(h, multipart(b"x" * 500)[:-20]), "ended in the middle of a film"),
    "no head of a part": (lambda h: send(h, f"--{BOUNDARY}\r\nx\r\n--{BOUNDARY}--".encode()), "something else than"),
    "two": (lambda h: send(h, multipart(b"x", b"y")), "sent more than one film"),
    "no film": (lambda h: send(h, multipart(b"MZ" * 500)), "does not say which film"),
    "too long": (lambda h: send(h, b"", length=10**7), "more than 2,000,000 bytes"),
    "a length without end": (lambda h: send(h, b"", length=10**30), "more than 2,000,000 bytes"),
    "without end": (endless, "more than 2,000,000 bytes"),
    "compressed": (lambda h: send(h, multipart(b"x"), Content_Encoding="gzip"), "was not asked for"),
    "elsewhere": (redirect("http://localhost:1/web"), "sends elsewhere"),
    "elsewhere, unencrypted name": (redirect("https://127.0.0.1:1/x"), "sends elsewhere"),
    "to a file": (redirect("file:///etc/passwd"), "sends elsewhere"),
    "silent": (lambda h: time.sleep(1.5), "fell silent"),
    "drip by drip": (drip, "took longer than"),
}


@pytest.mark.parametrize("name", FILMS)
def test_films_of_a_broken_archive(archive, one, into, name):
    answers, said = FILMS[name]

    def handle(handler, path):
        if path.endswith(FILM):
            handler.close_connection = True
            answers(handler)
            return True
        return False

    archive.handle = handle
    limits = {"silent_seconds": 0.3} if name == "silent" else {"answer_seconds": 1.0} if "drip" in name else {}
    with opened(archive, film_bytes=2_000_000, **limits) as web, pytest.raises(DicomWebError, match=said) as raised:
        web.fetch([STUDY], into)
    assert str(raised.value).count(". ") == 0 and STUDY not in str(raised.value) and not leaks(str(raised.value))
    assert list(into.rglob("*.dcm")) == []


def test_another_study_s_film_is_not_taken(archive, one, into, tmp_path):
    other = film(tmp_path / "other", StudyInstanceUID=f"{STUDY}.5")
    archive.handle = lambda h, path: path.endswith(FILM) and not send(h, multipart(other.read_bytes()))
    with opened(archive) as web, pytest.raises(DicomWebError, match="another film than was asked for"):
        web.fetch([STUDY], into)
    assert list(into.rglob("*.dcm")) == []


def test_a_redirect_on_the_same_address_is_followed(archive, one, into):
    def moved(handler, path):
        if path.endswith(FILM) and "moved" not in handler.path:
            redirect(f"{path}?moved=1")(handler)
            return True
        return False

    archive.handle = moved
    with opened(archive) as web:
        assert web.fetch([STUDY], into) == 1


LISTS = {
    "no list": (lambda h: send_json(h, "no"), "something else than a list"),
    "no entries": (lambda h: send_json(h, [1, 2]), "something else than a list"),
    "no JSON": (lambda h: send(h, b"{", "application/dicom+json"), "something else than a list"),
    "deep": (lambda h: send(h, b"[" * 100_000, "application/json"), "something else than a list"),
    "XML": (lambda h: send(h, b"<a/>", "application/dicom+xml"), "application/dicom.json was expected"),
    "a path": (lambda h: send_json(h, [entry(STUDY, "../..", FILM, "1.2.840.10008.5.1.4.1.1.1")]), "valid UIDs"),
    "too long": (lambda h: send(h, b" " * 3_000, "application/json"), "more than 2,000 bytes"),
    "not there": (lambda h: send(h, b"", None, 404), "does not have a list of what study 1 of 1 holds"),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_a_broken_archive(archive, into, name):
    answers, said = LISTS[name]
    archive.handle = lambda handler, path: not answers(handler)
    limits = {"list_bytes": 2_000} if name == "too long" else {}
    with opened(archive, **limits) as web, pytest.raises(DicomWebError, match=said):
        web.fetch([STUDY], into)


def test_a_list_that_repeats_itself_ends(archive, one, into, monkeypatch):
    monkeypatch.setattr("chexkeras.delivery.dicomweb.archive._PAGE", 1)
    same = [entry(STUDY, SERIES, FILM, "1.2.840.10008.5.1.4.1.1.1")]
    archive.handle = lambda h, path: path.endswith("instances") and not send_json(h, same)
    with opened(archive) as web:
        assert web.fetch([STUDY], into) == 1


def test_a_list_that_never_ends_is_left(archive, into, monkeypatch):
    monkeypatch.setattr("chexkeras.delivery.dicomweb.archive._PAGE", 20)
    count = iter(range(10_000))

    def more(handler, path):
        send_json(handler, [entry(STUDY, SERIES, f"1.{next(count)}", "1.2") for _ in range(20)])
        return True

    archive.handle = more
    with opened(archive, films=1) as web, pytest.raises(DicomWebError, match="more than 50 entries"):
        web.fetch([STUDY], into)


def test_too_many_films_are_not_fetched(archive, one, into, tmp_path):
    archive.add(film(tmp_path / "two", SOPInstanceUID=f"{FILM}.2"))
    with opened(archive, films=1) as web, pytest.raises(DicomWebError, match="more than 1 films"):
        web.fetch([STUDY], into)
    assert list(into.iterdir()) == []


def test_nobody_there_is_one_sentence(archive, into):
    archive.stop()
    with opened(archive) as web, pytest.raises(DicomWebError, match="cannot be reached; is the address right"):
        web.fetch([STUDY], into)
    archive.server.socket.close()


def test_what_is_no_uid_is_not_asked_for(archive, into):
    with opened(archive) as web, pytest.raises(ValueError, match="study 1: a UID was expected"):
        web.fetch(["../patients"], into)
    assert archive.asked == []


def test_the_folder_of_films_is_gone_after_the_block_however_it_ends(archive, one):
    for end in (None, KeyboardInterrupt):
        try:
            with opened(archive) as web, fetched(web, [STUDY]) as folder:
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and list(folder.rglob("*.dcm"))
                if end:
                    raise end
        except KeyboardInterrupt:
            assert end
        assert not folder.exists()


def mutated(answer, draw):
    """An answer, head and all, with bytes changed, lost, repeated or put in."""
    content, head = bytearray(answer), answer.index(b"\r\n\r\n") + 200
    for _ in range(draw.choice((1, 2, 5))):
        at = min(draw.randrange(head if draw.random() < 0.7 else len(content)), len(content) - 1)
        length = draw.randrange(1, 40)
        kind = draw.randrange(5)
        if kind == 0:
            content[at] = draw.randrange(256)
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = draw.randbytes(length)
        elif kind == 3:
            content[at:at] = content[at : at + 5 * length]
        else:
            del content[at:]
        content = content or bytearray(b"x")
    return bytes(content)


@pytest.mark.parametrize("which", ["list", "film"])
def test_mutated_answers_end_in_a_sentence_or_in_the_film(archive, one, into, which):
    draw, told = random.Random(which), 0
    body = json.dumps([entry(STUDY, SERIES, FILM, CR)]).encode() if which == "list" else multipart(one.read_bytes())
    media = "application/dicom+json" if which == "list" else f'multipart/related; boundary="{BOUNDARY}"'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    def handle(handler, path):
        if path.endswith("instances") != (which == "list"):
            return False
        handler.close_connection = True
        handler.wfile.write(mutated(head.encode() + body, draw))
        return True

    archive.handle = handle
    for _ in range(60):
        with opened(archive, tries=1, silent_seconds=0.3, film_bytes=2_000_000, list_bytes=10_000) as web:
            try:
                assert web.fetch([STUDY], into) == 1
            except DicomWebError as error:
                told += 1
                assert STUDY not in str(error) and "\n" not in str(error)
        for path in into.rglob("*.dcm"):
            assert film_identity(path) == (STUDY, SERIES, FILM)
            path.unlink()
    assert 10 < told <= 60


# ---- results


@pytest.fixture
def results(tmp_path):
    """Two films' results: of one a report and a picture, of the other a report."""
    made = [film(tmp_path / f"{FILM}.{at}", SOPInstanceUID=f"{FILM}.{at}") for at in range(3)]
    return [made[:2], made[2:]]


def test_results_are_stored_film_by_film(archive, results):
    with opened(archive) as web:
        done = web.store(results)
    assert done.stored == 3 and done.failed == {}
    assert [(study, len(parts)) for study, parts in archive.stored] == [(STUDY, 2), (STUDY, 1)]


ANSWERS = {
    "some": (lambda uids: (202, "application/dicom+json", told_of(uids[1:], {uids[0]: 0xA700})), 1,
             {"0xA700 (out of resources)": 2}),
    "none": (lambda uids: (409, "application/dicom+json", told_of((), dict.fromkeys(uids, 0x0122))), 0,
             {"0x0122 (kind of object not taken)": 3}),
    "a private code": (lambda uids: (409, "application/json", told_of((), dict.fromkeys(uids, 0xC123))), 0,
                       {"0xC123 (cannot be understood)": 3}),
    "no reason": (lambda uids: (409, "application/json", told_of((), dict.fromkeys(uids))), 0, {"no reason given": 3}),
    "with a character set": (lambda uids: (200, "application/dicom+json; charset=utf-8", told_of(uids)), 3, {}),
    "nothing said": (lambda uids: (200, "application/dicom+json", {}), 0, {"not confirmed": 3}),
    "no content": (lambda uids: (204, "", b""), 0, {"not confirmed": 3}),
    "of others": (lambda uids: (200, "application/dicom+json", told_of(["1.2.3"])), 0, {"not confirmed": 3}),
    "of both kinds": (lambda uids: (200, "application/dicom+json", told_of(uids, dict.fromkeys(uids, 0x0110))), 0,
                      {"0x0110 (processing failure)": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_what_the_archive_says_of_results_is_counted(archive, results, name):
    archive.answer, stored, failed = ANSWERS[name]
    with opened(archive) as web:
        done = web.store(results)
    assert (done.stored, done.failed) == (stored, failed)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, "text/html", CANARY.encode()), "did not give an account of what it stored .HTTP 500"),
        ((200, "application/dicom+xml", b"<a/>"), "application/dicom.json was expected"),
        ((200, "application/dicom+json", b"{"), "something else than an account"),
        ((200, "application/dicom+json", b'{"00081199": {"vr": "SQ", "Value": 3}}'), "something else than an account"),
        ((409, "text/html", b"<html>"), "something else than an account"),
        ((401, "", b""), "asks for credentials"),
    ],
)
def test_an_archive_that_gives_no_account(archive, results, answer, said):
    archive.answer = lambda _: answer
    with opened(archive) as web, pytest.raises(DicomWebError, match=said) as raised:
        web.store(results)
    assert leaks(str(raised.value)) == []


def test_results_that_were_offered_in_vain_are_offered_whole_again(archive, results):
    left = iter([503])

    def busy(handler, path):
        status = next(left, None)
        if status:
            send(handler, b"", None, status)
        return bool(status)

    archive.handle = busy
    with opened(archive) as web:
        assert web.store(results).stored == 3
    lengths = [headers["Content-Length"] for method, _, _, headers in archive.asked if method == "POST"]
    assert len(lengths) == 3 and lengths[0] == lengths[1]


def test_nothing_logged_names_a_patient_or_a_study(archive, into, tmp_path, caplog, capfd):
    dataset = canary_image()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, CANARY_UID)
    path = write(tmp_path / "canary", dataset)
    archive.add(path)
    # Building the image quotes its values, too.
    caplog.clear()
    capfd.readouterr()
    with caplog.at_level(logging.DEBUG), opened(archive) as web:
        web.fetch([CANARY_UID], into)
        web.store([[path]])
        archive.answer = lambda uids: (409, "application/json", told_of((), dict.fromkeys(uids, 0xA700)))
        assert web.store([[path]]).failed
    assert leaks(caplog.text + " ".join(capfd.readouterr())) == []
    assert [str(path) for path in into.rglob("*") if leaks(str(path.relative_to(into)))] == []
