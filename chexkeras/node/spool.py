"""Where films wait: a folder for each film, whose place on disk says how far it is, whenever the process ends.

received -> scoring -> scored -> done, or dead. A film goes from one to the next by renaming its folder, once all that
belongs to the next is on disk. So after a power cut, or a kill at any moment, each film is in exactly one place, with
all that this place promises. Names of folders are keyed hashes of the films' UIDs: nothing that a sender chose becomes
a path.
"""

import hashlib
import hmac
import os
import secrets
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.dicom.privacy import HASH_KEY_VARIABLE
from chexkeras.node.film import FILM, RECORD, SENT, SpooledFilm
from chexkeras.node.on_disk import is_whole, number_in, sync_file, sync_folder, write_json, write_through
from chexkeras.node.settings import NodeLimits
from chexkeras.progress import say

INCOMING, RECEIVED, SCORING, SCORED, DONE, DEAD, KEPT = (
    "incoming", "received", "scoring", "scored", "done", "dead", "kept",
)  # fmt: skip
_PLACES = (INCOMING, RECEIVED, SCORING, SCORED, DONE, DEAD, KEPT)
_UNFINISHED = (RECEIVED, SCORING, SCORED)
_ATTEMPTS, _TRIES, _OFFERED, _WHY = "attempts", "tries", "offered", "why.json"
_ID_LETTERS = 32
_DAY_SECONDS = 86_400.0
_SUSPECT_FROM = 2
_LETTERS = frozenset("0123456789abcdef")


class SpoolFull(Exception):
    """There is no room for another film now.

    Args:
        reason: "queue" or "disk".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Spool:
    """Films on disk; used by one process at a time, by as many of its threads as like.

    Args:
        folder: The folder; made where it is not there, readable by its owner alone.
        limits: The limits.
        keep_originals: Whether films are kept after their results were sent.

    Raises:
        FileExistsError: If another node uses the folder.
        OSError: If it cannot be written to.
        ValueError: If it holds something else, or was made under another key.
    """

    def __init__(self, folder: Path, limits: NodeLimits, *, keep_originals: bool = False) -> None:
        self.folder, self._limits, self._keep = folder, limits, keep_originals
        self._held = _taken(folder)
        try:
            for place in _PLACES:
                (folder / place).mkdir(mode=0o700, exist_ok=True)
            self.key = _key(folder)
        except BaseException:
            self._held.close()
            raise
        self._changed = threading.Condition()
        self._where: dict[str, str] = {}
        self._counts = Counter[str]()
        self._waiting: deque[SpooledFilm] = deque()
        self._to_send: dict[str, SpooledFilm] = {}
        # Films that were in hand each of the last times; one of them may be what ended the process.
        self._suspects: set[str] = set()
        self._recover()

    def close(self) -> None:
        """Lets another process use the folder."""
        self._held.close()

    def name_of(self, uid: str) -> str:
        """Returns the name of a film here.

        Args:
            uid: Its SOP instance UID.
        """
        return hmac.new(self.key.encode(), uid.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:_ID_LETTERS]

    # From the network.

    def receive(self, uid: str, head: bytes, data: bytes | memoryview) -> bool:
        """Keeps a film; it is on disk, whatever happens then, when this returns.

        Args:
            uid: Its SOP instance UID, as the sender says.
            head: The file's preamble and meta information.
            data: The encoded data set, as it came.

        Returns:
            Whether it is new; False for one that is known already, of which nothing is kept.

        Raises:
            OSError: If it cannot be written.
            SpoolFull: If there is no room.
        """
        name = self.name_of(uid)
        with self._changed:
            if name in self._where:
                return False
            if self.queue_length >= self._limits.waiting:
                raise SpoolFull("queue")
        if shutil.disk_usage(self.folder).free < self._limits.free_bytes + len(data):
            raise SpoolFull("disk")
        temporary = self.folder / INCOMING / f"{name}-{secrets.token_hex(4)}"
        temporary.mkdir(mode=0o700)
        try:
            write_through(temporary / FILM, head, data)
            sync_folder(temporary)
            with self._changed:
                # The same film over two associations at once: the first that is on disk counts.
                if name in self._where:
                    return False
                folder = self.folder / RECEIVED / name
                os.rename(temporary, folder)
                sync_folder(folder.parent)
                self._note(name, RECEIVED)
                self._waiting.append(SpooledFilm(name, folder, time.time()))
                self._changed.notify_all()
            return True
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def knows(self, uid: str) -> bool:
        """Returns whether a film has come before, and is not forgotten.

        Args:
            uid: Its SOP instance UID.
        """
        return self.name_of(uid) in self._where

    def keeps(self, uid: str) -> bool:
        """Returns whether a film is held for good.

        Args:
            uid: Its SOP instance UID.
        """
        name = self.name_of(uid)
        return self._keep and (name in self._where or (self.folder / KEPT / name).is_dir())

    # Scoring.

    def claim(self, seconds: float) -> SpooledFilm | None:
        """Returns the film that has waited longest, to be scored; None where none comes in time.

        Args:
            seconds: How long to wait for one.
        """
        with self._changed:
            if not self._may_claim():
                self._changed.wait(seconds)
            if not self._may_claim():
                return None
            return self._moved(self._waiting.popleft(), SCORING)

    def _may_claim(self) -> bool:
        """Returns whether there is a film to claim; one that may have ended the process is scored with no other."""
        in_hand = [name for name in self._suspects if self._where.get(name) == SCORING]
        if not self._waiting or in_hand:
            return False
        return self._waiting[0].name not in self._suspects or self._counts[SCORING] == 0

    def give_back(self, film: SpooledFilm) -> None:
        """Puts a film back that was claimed and not scored.

        Args:
            film: From `claim`.
        """
        shutil.rmtree(film.results, ignore_errors=True)
        with self._changed:
            self._waiting.appendleft(self._moved(film, RECEIVED))
            self._changed.notify_all()

    def commit(self, film: SpooledFilm, record: dict[str, Any]) -> SpooledFilm:
        """Notes that a film is scored; from here on it is never scored again.

        Args:
            film: From `claim`; what lies in its folder of results is to be sent.
            record: What is to be known of it later, plain values without patient text.

        Returns:
            The film in its new place.
        """
        self._suspects.discard(film.name)
        film.results.mkdir(mode=0o700, exist_ok=True)
        for path in film.unsent:
            sync_file(path)
        sync_folder(film.results)
        write_json(film.folder / RECORD, record)
        sync_folder(film.folder)
        with self._changed:
            moved = self._moved(film, SCORED, sync=True)
            self._to_send[film.name] = moved
            self._changed.notify_all()
        return moved

    # Sending.

    def to_send(self, seconds: float) -> list[SpooledFilm]:
        """Returns the scored films in the order in which they came; waits where there is none.

        Args:
            seconds: How long to wait for one.
        """
        with self._changed:
            if not self._to_send:
                self._changed.wait(seconds)
            return list(self._to_send.values())

    def wait(self, seconds: float) -> None:
        """Waits until a film has gone from one place to the next.

        Args:
            seconds: How long at most.
        """
        with self._changed:
            self._changed.wait(seconds)

    def note_sent(self, film: SpooledFilm, path: Path) -> None:
        """Notes that the peer has a result.

        Args:
            film: Of this film.
            path: One of its `unsent`.
        """
        folder = film.folder / SENT
        folder.mkdir(mode=0o700, exist_ok=True)
        os.rename(path, folder / path.name)
        sync_folder(folder)

    def note_offered(self, film: SpooledFilm, path: Path | None) -> None:
        """Notes that a result is about to be offered to the peer.

        Args:
            film: Of this film.
            path: One of its `unsent`; None for: the peer has refused it, there is no doubt.
        """
        write_through(film.folder / _OFFERED, ("" if path is None else path.name).encode("ascii"))

    def offered(self, film: SpooledFilm) -> str:
        """Returns the name of the result that was offered last, the outcome of which nobody may know; "" for none.

        Args:
            film: The film.
        """
        try:
            return (film.folder / _OFFERED).read_text(encoding="ascii")
        except OSError:
            return ""

    def tries(self, film: SpooledFilm, add: int = 0) -> int:
        """Returns how often the peer has refused a result of a film.

        Args:
            film: The film.
            add: How many more that are now.
        """
        path = film.folder / _TRIES
        count = number_in(path) + add
        if add:
            write_through(path, str(count).encode())
        return count

    def finish(self, film: SpooledFilm, outcome: dict[str, Any]) -> None:
        """Notes that nothing is left to do for a film, and removes it, or keeps it where that was asked for.

        Args:
            film: The film.
            outcome: What became of it, plain values without patient text.
        """
        write_json(self.folder / DONE / f"{film.name}.json", outcome)
        sync_folder(self.folder / DONE)
        with self._changed:
            self._note(film.name, DONE)
            self._to_send.pop(film.name, None)
            self._changed.notify_all()
        self._clear(film.folder)

    def bury(self, film: SpooledFilm, why: dict[str, Any]) -> None:
        """Puts a film aside of which nothing more can be made without a person.

        Args:
            film: The film.
            why: What happened, plain values without patient text.
        """
        write_json(film.folder / _WHY, why)
        with self._changed:
            self._moved(film, DEAD, sync=True)
            self._to_send.pop(film.name, None)
            self._changed.notify_all()

    # What is here.

    @property
    def queue_length(self) -> int:
        """Films that are not done, and not dead."""
        return sum(self._counts[place] for place in _UNFINISHED)

    def counts(self) -> dict[str, int]:
        """Returns how many films are in each place."""
        return {place: self._counts[place] for place in (*_UNFINISHED, DONE, DEAD)}

    def unfinished(self) -> list[str]:
        """Returns the names of films that are not done, and not dead."""
        with self._changed:
            return [name for name, place in self._where.items() if place in _UNFINISHED]

    def oldest_seconds(self) -> float:
        """Returns for how long the oldest film has waited to be scored and sent."""
        with self._changed:
            firsts = [*(film.received for film in tuple(self._waiting)[:1])]
            firsts += [film.received for film in self._to_send.values()]
        return max(time.time() - min(firsts), 0.0) if firsts else 0.0

    def revive(self) -> int:
        """Puts the films back that were put aside, as if nothing had been tried yet; returns how many."""
        with self._changed:
            films = list(self._films_in(DEAD))
            for film in films:
                for name in (_ATTEMPTS, _TRIES, _WHY):
                    (film.folder / name).unlink(missing_ok=True)
                is_scored = is_whole(film.folder / RECORD)
                moved = self._moved(replace(film, attempts=0), SCORED if is_scored else RECEIVED, sync=True)
                if is_scored:
                    self._to_send[film.name] = moved
                else:
                    self._waiting.append(moved)
            self._changed.notify_all()
        return len(films)

    def forget_old(self) -> int:
        """Forgets films that were done long ago; returns how many. One that is sent again then is new."""
        before, gone = time.time() - self._limits.remembered_days * _DAY_SECONDS, 0
        for entry in os.scandir(self.folder / DONE):
            if entry.stat().st_mtime < before:
                os.unlink(entry.path)
                with self._changed:
                    self._note(entry.name.removesuffix(".json"), None)
                gone += 1
        return gone

    def _note(self, name: str, place: str | None) -> None:
        before = self._where.pop(name, None)
        if before is not None:
            self._counts[before] -= 1
        if place is not None:
            self._where[name] = place
            self._counts[place] += 1

    def _moved(self, film: SpooledFilm, place: str, *, sync: bool = False) -> SpooledFilm:
        folder = self.folder / place / film.name
        os.rename(film.folder, folder)
        if sync:
            sync_folder(folder.parent)
            sync_folder(film.folder.parent)
        self._note(film.name, place)
        return SpooledFilm(film.name, folder, film.received, film.attempts)

    def _clear(self, folder: Path) -> None:
        target = self.folder / KEPT / folder.name
        if self._keep and not target.exists():
            os.rename(folder, target)
            return
        # Out of the way first: half a folder, left by a kill, would be taken for a film.
        target = self.folder / INCOMING / f"{folder.name}-{secrets.token_hex(4)}"
        os.rename(folder, target)
        shutil.rmtree(target, ignore_errors=True)

    # After a start.

    def _recover(self) -> None:
        for entry in list(os.scandir(self.folder / INCOMING)):
            # Not acknowledged: the sender still has it.
            shutil.rmtree(entry.path, ignore_errors=True)
        for place in (DONE, DEAD):
            for entry in os.scandir(self.folder / place):
                name = entry.name.removesuffix(".json")
                if _is_name(name):
                    self._note(name, place)
        for film in list(self._films_in(SCORING)):
            if self._where.get(film.name) == DONE:
                continue
            self._note(film.name, SCORING)
            if is_whole(film.folder / RECORD):
                self._moved(film, SCORED, sync=True)
                continue
            shutil.rmtree(film.results, ignore_errors=True)
            write_through(film.folder / _ATTEMPTS, str(film.attempts + 1).encode())
            self._moved(film, RECEIVED)
        for film in sorted(self._films_in(SCORED), key=lambda each: each.received):
            if self._where.get(film.name) == DONE:
                self._clear(film.folder)
                continue
            self._note(film.name, SCORED)
            self._to_send[film.name] = film
        for film in sorted(self._films_in(RECEIVED), key=lambda each: each.received):
            self._note(film.name, RECEIVED)
            if film.attempts >= self._limits.attempts:
                self.bury(film, {"reason": "the process ended each time while this film was being scored"})
            else:
                self._waiting.append(film)
                if film.attempts >= _SUSPECT_FROM:
                    self._suspects.add(film.name)

    def _films_in(self, place: str) -> Iterator[SpooledFilm]:
        for entry in list(os.scandir(self.folder / place)):
            film = Path(entry.path, FILM)
            if not _is_name(entry.name) or not film.is_file():
                say(f"the spool's folder {place!r} holds {entry.name!r}, which is no film; it is left alone")
                continue
            attempts = number_in(Path(entry.path, _ATTEMPTS))
            yield SpooledFilm(entry.name, Path(entry.path), film.stat().st_mtime, attempts)


def _taken(folder: Path) -> Any:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    strange = {entry.name for entry in os.scandir(folder)} - {*_PLACES, "lock", "key", "audit.jsonl", "drift.json"}
    if strange - {name for name in strange if name.startswith(("audit.jsonl.", "."))}:
        raise ValueError(f"--spool {str(folder)!r} holds something else already; name a new folder.")
    folder.chmod(0o700)
    handle = open(folder / "lock", "w")  # noqa: SIM115
    try:
        if not files.lock(handle, f"--spool {str(folder)!r} is used by another node; end that one, or name another."):
            say("the spool's file system knows no locks: see to it that no other node uses the same folder")
    except BaseException:
        handle.close()
        raise
    return handle


def _key(folder: Path) -> str:
    """Returns the secret behind the names of films: the one in the environment, or one that is made for the spool."""
    path, given = folder / "key", os.environ.get(HASH_KEY_VARIABLE, "")
    if path.is_file():
        kept = path.read_text(encoding="ascii")
        if given and not hmac.compare_digest(kept, _mark(given)) and not hmac.compare_digest(kept, given):
            raise ValueError(
                f"the spool {str(folder)!r} was made under another key than the one in {HASH_KEY_VARIABLE}, and would "
                "not know its films again; set that key, or name a new folder."
            )
        if not given and kept.startswith("mark:"):
            raise ValueError(
                f"the spool {str(folder)!r} was made under a key in {HASH_KEY_VARIABLE}, which is not set; set it."
            )
        return given or kept
    made = given or secrets.token_hex(32)
    write_through(path, (_mark(given) if given else made).encode())
    sync_folder(folder)
    return made


def _mark(key: str) -> str:
    return "mark:" + hashlib.sha256(f"chexkeras spool {key}".encode()).hexdigest()


def _is_name(name: str) -> bool:
    return len(name) == _ID_LETTERS and _LETTERS.issuperset(name)
