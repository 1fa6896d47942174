import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1

from chexkeras.dicom import privacy
from chexkeras.dicom.read import read_image
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers import process
from chexkeras.dicom.workers.options import IN_PROCESS, ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.dicom.workers.process import Worker
from chexkeras.inference import read_files
from chexkeras.parallel import WorkersUnavailable
from tests.dicom.dicom_images import encoded, image, ramp, write
from tests.dicom.workers.worker_faults import CANARY, FAULTY, SECONDS, STILLBORN, end_what_hangs

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    good = write(folder / "good", image(ramp(300, 280), PatientAge="58"))
    write(folder / "ct", image(ramp(), Modality="CT"))
    write(folder / "j2k", image(ramp(), syntax=JPEG2000Lossless, raw=encoded(ramp(), "JPEG2000")))
    Image.fromarray(ramp(highest=255).astype(np.uint8)).save(folder / "png", "PNG")
    (folder / "page").write_text("<html>")
    for fault in ("sleep", "spin", "segfault", "exit", "memory", "keep", "print", "raise", "write"):
        shutil.copy(good, folder / fault)
    return folder


@pytest.fixture(scope="module")
def pool():
    with ReaderPool(FAULTY, ReadOptions(workers=1, memory_bytes=2**29, seconds=SECONDS)) as pool:
        yield pool


def refusal(pool, path):
    with pytest.raises(DicomRejected) as caught:
        pool.read(path)
    return caught.value


@pytest.mark.parametrize("name", ["good", "j2k", "png"])
def test_a_worker_reads_what_the_program_itself_reads(pool, images, name):
    there, here = pool.read(images / name), read_image(images / name)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    for field in dataclasses.fields(here):
        if field.name != "pixels":
            np.testing.assert_equal(getattr(there, field.name), getattr(here, field.name))


@pytest.mark.parametrize("name", ["ct", "page"])
def test_a_worker_refuses_what_the_program_itself_refuses_in_the_same_words(pool, images, name):
    with pytest.raises(DicomRejected) as caught:
        read_image(images / name)
    there = refusal(pool, images / name)
    assert (there.code, there.violations, str(there)) == (
        caught.value.code,
        caught.value.violations,
        str(caught.value),
    )
    assert refusal(pool, images / "nowhere").code == "unreadable"


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("sleep", "decoder_limit", "expected a file that is read within 60 seconds"),
        ("spin", "decoder_limit", "expected a file that is read within 60 seconds"),
        ("segfault", "decoder_crash", "found signal 11" if os.name == "posix" else "found"),
        ("exit", "decoder_crash", "found exit status 3"),
        pytest.param("memory", "decoder_limit", "within the memory and time", marks=LINUX),
        ("raise", "unreadable", "KeyError"),
    ],
)
def test_a_file_that_takes_its_worker_down_is_refused_and_the_next_one_is_read(
    pool, images, fault, code, words, monkeypatch
):
    end_what_hangs(monkeypatch)
    refused = refusal(pool, images / fault)
    assert refused.code == code
    assert words in str(refused)
    assert CANARY not in f"{refused} {refused.violations}"
    assert pool.read(images / "good").pixels.shape == (300, 280)


@pytest.mark.skipif("gdcm" not in get_decoder(JPEGLosslessSV1).available_plugins, reason="GDCM is not installed")
def test_a_decoder_that_aborts_takes_its_worker_only(pool, images, tmp_path):
    # A JPEG stream without its Huffman tables: GDCM 3.2 throws out of its own reach, and the process is aborted.
    values = ramp(highest=255).astype(np.uint8)
    stream = bytearray(get_frame(encoded(values, "JPEG"), 0, number_of_frames=1))
    stream[stream.index(b"\xff\xc4") + 1] = 0x01
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    dataset = image(values, syntax=JPEGLosslessSV1, raw=encapsulate([bytes(stream)]), **bits)
    # A later release may refuse it in good order.
    assert refusal(pool, write(tmp_path / "image.dcm", dataset)).code in {"decoder_crash", "decode"}
    assert pool.read(images / "good").pixels.shape == (300, 280)


@LINUX
def test_what_earlier_files_left_behind_does_not_refuse_a_later_one(images):
    with ReaderPool(FAULTY, ReadOptions(workers=1, memory_bytes=2**29, seconds=SECONDS)) as pool:
        # Each keeps 300 of 512 MB: the second and third fit into a fresh worker only, and get one.
        for _ in range(3):
            assert pool.read(images / "keep").pixels.shape == (300, 280)
        assert 300 * 2**20 < pool.peak_bytes < 2**30


def test_what_libraries_print_neither_disturbs_the_answers_nor_shows(pool, images, capfd):
    for _ in range(2):
        np.testing.assert_array_equal(pool.read(images / "print").pixels, read_image(images / "good").pixels)
    assert capfd.readouterr() == ("", "")


@LINUX
def test_a_worker_writes_no_file(pool, images, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with ReaderPool(FAULTY, ReadOptions(workers=1, seconds=SECONDS)) as fresh:
        assert refusal(fresh, images / "write").code == "unreadable"
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]


def test_workers_share_the_key_of_the_program(images, monkeypatch):
    monkeypatch.delenv(privacy.HASH_KEY_VARIABLE, raising=False)
    with ReaderPool("clinical", ReadOptions(workers=2)) as pool:
        keys = []
        threads = [threading.Thread(target=lambda: keys.append(pool.read(images / "good").key)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(keys) == {read_image(images / "good").key} and len(keys) == 4


def test_a_worker_that_does_not_start_says_why(images):
    with ReaderPool(STILLBORN, ReadOptions(workers=1)) as pool:
        for _ in range(2):
            with pytest.raises(
                WorkersUnavailable, match=r"\(KeyError: 'no such library'\); with ReadOptions\(workers=0\)"
            ):
                pool.read(images / "good")


def refusing_popen(monkeypatch, answers):
    """Makes the system refuse processes: each answer is an OSError, or None for a process."""
    answers, intact = iter(answers), subprocess.Popen

    def popen(*arguments, **options):
        answer = next(answers)
        if answer is not None:
            raise answer
        return intact(*arguments, **options)

    monkeypatch.setattr(process.subprocess, "Popen", popen)
    monkeypatch.setattr(process, "_PAUSES_SECONDS", (0.0, 0.0))


BUSY = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def test_a_worker_that_the_system_has_no_room_for_is_tried_again(images, monkeypatch):
    refusing_popen(monkeypatch, [BUSY, BUSY, None])
    with ReaderPool("clinical", ReadOptions(workers=1)) as pool:
        assert pool.read(images / "good").pixels.shape == (300, 280)


@pytest.mark.parametrize(
    ("answers", "said"),
    [([BUSY] * 3, "Resource temporarily unavailable"), ([FileNotFoundError(2, "No such file")], "No such file")],
)
def test_a_worker_that_cannot_be_made_says_why_and_no_image_is_blamed(images, monkeypatch, answers, said):
    refusing_popen(monkeypatch, answers * 2)
    outcomes = read_files.read_files([images / "good"] * 3, read_options=ReadOptions(workers=1))
    with pytest.raises(WorkersUnavailable, match=rf"did not start \({said}\); with ReadOptions\(workers=0\)"):
        next(outcomes)


def test_a_worker_that_cannot_be_replaced_ends_the_reading_and_blames_its_own_image_only(images, monkeypatch):
    refusing_popen(monkeypatch, [None, *[BUSY] * 30])
    outcomes = read_files.read_files(
        [images / "good", images / "exit", images / "good"], FAULTY, ReadOptions(workers=1)
    )
    assert next(outcomes).verdict == "warn"
    # The worker was not fresh, so that the file is tried once more, with a new one.
    with pytest.raises(WorkersUnavailable, match="Resource temporarily unavailable"):
        list(outcomes)


def test_a_thread_that_cannot_be_started_blames_no_image(images, monkeypatch):
    def full(self):
        raise RuntimeError("can't start new thread")

    with ReaderPool("clinical", ReadOptions(workers=1)) as pool:
        with monkeypatch.context() as limited:
            limited.setattr(process.threading.Timer, "start", full)
            with pytest.raises(WorkersUnavailable, match=r"did not start \(can't start new thread\)"):
                pool.read(images / "good")
        assert pool.read(images / "good").pixels.shape == (300, 280)
        with monkeypatch.context() as limited:
            limited.setattr(process.threading.Timer, "start", full)
            with pytest.raises(WorkersUnavailable, match="can't start new thread"):
                pool.read(images / "good")
        assert pool.read(images / "good").pixels.shape == (300, 280)


def test_a_worker_is_started_before_the_clock_of_its_first_file(images, monkeypatch):
    events, start, clock = [], Worker.start, read_files.perf_counter

    def noting(name, function):
        return lambda *arguments: (events.append(name), function(*arguments))[1]

    monkeypatch.setattr(Worker, "start", noting("start", start))
    monkeypatch.setattr(read_files, "perf_counter", noting("clock", clock))
    outcomes = list(read_files.read_files([images / "good"] * 2, read_options=ReadOptions(workers=1)))
    assert [outcome.verdict for outcome in outcomes] == ["warn", "warn"]
    assert events == ["start", *["clock"] * 4]


def test_a_closed_pool_says_so(images):
    pool = ReaderPool("clinical", ReadOptions(workers=1))
    pool.close()
    with pytest.raises(WorkersUnavailable, match="was closed"):
        pool.read(images / "good")


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_to_all_processes_of_a_job_is_answered_by_the_program_and_blames_no_image(images, name):
    with ReaderPool("clinical", ReadOptions(workers=1)) as pool:
        pool.read(images / "good")
        for each in pool._workers:
            os.kill(each._process.pid, getattr(signal, name))
        assert pool.read(images / "good").view == "PA"
        assert pool.restarts == 0


def test_closing_ends_a_file_that_is_being_read(images):
    pool, ended = ReaderPool(FAULTY, ReadOptions(workers=1, seconds=600)), threading.Event()
    pool.read(images / "good")

    def read():
        with pytest.raises(WorkersUnavailable):
            pool.read(images / "sleep")
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    # Closed while it reads, or before it begins: either way it ends at once.
    pool.close()
    thread.join(timeout=60)
    assert ended.is_set()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers=-1 must be at least 0"),
        ({"seconds": 0}, "seconds=0 must be above 0"),
        ({"memory_bytes": -5}, "memory_bytes=-5 must be above 0"),
        ({"seconds": float("nan")}, "seconds=nan must be above 0"),
    ],
)
def test_impossible_limits_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ReadOptions(**options)


def test_a_pool_needs_a_worker_and_a_profile():
    with pytest.raises(ValueError, match="at least 1 worker"):
        ReaderPool("clinical", IN_PROCESS)
    with pytest.raises(ValueError, match="clinical, course"):
        ReaderPool("clinic")
    assert 2 <= ReadOptions().processes <= 8


def test_a_worker_starts_without_tensorflow_and_reruns_no_script(tmp_path, images):
    # No guard against being imported again: a plain script may read images, and its output comes once.
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nprint('once')\nfrom chexkeras.dicom.workers.pool import ReaderPool, ReadOptions\n"
        "with ReaderPool('clinical', ReadOptions(workers=1)) as pool:\n"
        f"    image = pool.read({str(images / 'good')!r})\n"
        "print(image.view)\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["once", "PA", "False"]
    loaded = "import sys; from chexkeras.dicom.workers.worker import _load_libraries as load; load(); "
    loaded += "print({'tensorflow', 'keras', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("options", [ReadOptions(workers=1), IN_PROCESS], ids=["in a worker", "in this process"])
def test_a_listed_file_in_a_folder_called_like_a_home_folder_is_read_and_not_the_one_at_home(
    tmp_path, monkeypatch, options
):
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here / "~", home):
        folder.mkdir(parents=True)
    write(here / "~" / "a.dcm", image(ramp(300, 280)))
    for name in ("a.dcm", "b.dcm"):
        write(home / name, image(ramp(256, 256)))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    found = read_files.find_files(".")
    read = list(read_files.read_files(found, read_options=options))
    assert [result.image.pixels.shape for result in read] == [(300, 280)]
    # Nor is a file at home read for one that is not here.
    missing, *_ = read_files.read_files([os.path.join("~", "b.dcm")], read_options=options)
    assert missing.image is None
