"""What a film store says of itself: its films, its size, how far it has come, and the checksums of its pixels."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.data.films_file import FilmsFile

MANIFEST = "manifest.json"
FILMS = "films.npy"
INDEX = "index.csv"
FORMAT = "chexkeras film store 1"


@dataclass
class Manifest:
    """The content of ``manifest.json``. It holds no time and no path: the same films give the same bytes.

    Attributes:
        films: Rows of the store.
        size: Height and width of every film, pixels.
        chunk_films: Films a chunk, the unit in which progress is kept; the last chunk may have fewer.
        pixels_version: `data.pipeline.PIXELS_VERSION` of the program that decoded them.
        profile: Name of the DICOM gate's profile.
        chexkeras: Version of the package that began the store.
        table_sha256: Fingerprint of the image table that it was begun from.
        image_ids_sha256: Hash of the image ids in row order.
        index_sha256: Hash of ``index.csv``.
        chunks: Of each chunk the hash of its `pixels`, and of its `sources`: ids, file names and sizes in bytes, which
            tell a replaced film without reading it; None while it is not decoded.
        left_out: Code of the reason by image id, for films that could not be decoded.
    """

    films: int
    size: int
    chunk_films: int
    pixels_version: int
    profile: str
    chexkeras: str
    table_sha256: str
    image_ids_sha256: str
    index_sha256: str = ""
    chunks: list[dict[str, str] | None] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.chunks:
            self.chunks = [None] * -(-self.films // self.chunk_films)

    def __str__(self) -> str:
        return (
            f"{self.films:,} films of {self.size} px, DICOM profile {self.profile}, pixels version "
            f"{self.pixels_version}, image ids {self.image_ids_sha256[:8]}"
        )

    @property
    def complete(self) -> bool:
        """Whether every chunk is decoded."""
        return None not in self.chunks

    def rows(self, chunk: int) -> range:
        """Returns the rows of a chunk."""
        start = chunk * self.chunk_films
        return range(start, min(start + self.chunk_films, self.films))

    def describes_same(self, other: "Manifest") -> bool:
        """Returns whether two manifests are of the same films in the same order, and of the same pixels."""
        names = ("films", "size", "chunk_films", "pixels_version", "profile", "image_ids_sha256")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def save(self, folder: Path) -> None:
        """Writes the manifest into a store's folder, replacing an earlier one whole."""
        files.write_json(folder / MANIFEST, {"format": FORMAT, "complete": self.complete, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Reads the manifest of a store.

        Args:
            folder: The store's folder.

        Raises:
            FileNotFoundError: If it has none.
            ValueError: If it is damaged or of another format.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(
                f"no film store in {str(folder)!r}: it has no {MANIFEST}; make one with 'chexkeras prepare'."
            )
        found: Any = files.read_json(path)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(
                f"{path} is not the manifest of a film store ({FORMAT!r}); give a folder made by 'chexkeras prepare'."
            )
        try:
            manifest = cls(**{name: value for name, value in found.items() if name not in ("format", "complete")})
            whole = len(manifest.chunks) == -(-manifest.films // manifest.chunk_films)
        except (TypeError, ZeroDivisionError) as error:
            raise ValueError(f"{path} has other fields ({error}); delete the folder and prepare anew.") from error
        if not whole:
            raise ValueError(f"{path} does not list all its parts; delete the folder and prepare anew.")
        return manifest


def films_file(folder: Path, manifest: Manifest) -> FilmsFile:
    """Returns the file of pixels of a store.

    Args:
        folder: The store's folder.
        manifest: Its manifest.
    """
    return FilmsFile(folder / FILMS, manifest.films, manifest.size)
