"""A results folder as a place of whole files: on this machine, or wherever pyarrow.fs reaches.

A file is there whole or not at all, whatever dies at whatever moment. Names are relative to the folder, with
`/` in between. Every failure is an OSError with the reason in `strerror` and the place in `filename`.
"""
# ruff: noqa: D102 (what the methods do is said once, in Files)

import errno
import os
import re
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType

from grok_sweep.core import uris

# A hidden neighbour into which a file of ours is written before it is renamed: `.NAME-RANDOM.EXTENSION`.
TEMPORARY = re.compile(
    r"\.(sweep|phases|cells|circuits|phase_diagram|report|empty|[0-9a-f]{16})-[a-z0-9_]{8}"
    r"\.(yaml|parquet|png|svg|log|html)"
)
TEMPORARY_FIGURE = re.compile(
    r"\.[a-z_]+-[a-z0-9_]{8}\.(png|svg)"
)  # the same in figures/, where all are ours

# What from_uri is told besides. S3: a small object in one request, which no death can halve. Google: say
# within half a minute that nobody answers; its own limit is a quarter of an hour.
_OPTIONS = {
    "s3": "allow_delayed_open=true",
    "gs": "retry_limit_seconds=30",
    "gcs": "retry_limit_seconds=30",
}
_WITH_BUCKETS = ("s3", "gcs", "abfs")  # pyarrow's names of the kinds that keep objects in buckets


class StoreError(Exception):
    """A results folder that cannot be used: says which, why, and what to do."""


class Files(ABC):
    """What a results folder can do. `readers`: how many files are worth reading at once."""

    readers: int

    @abstractmethod
    def place(self, name: str = "") -> str:
        """What to call a file to a person, without passwords."""

    @abstractmethod
    def is_file(self, name: str) -> bool:
        """Whether there is a file of this name."""

    @abstractmethod
    def entries(self, folder: str = "") -> dict[str, bool]:
        """What is in a folder, in order: its name, whether it is a file; none where there is no folder."""

    def names(self, folder: str = "") -> list[str]:
        """The names of all that is in a folder, in order."""
        return list(self.entries(folder))

    def names_of_files(self, folder: str = "") -> list[str]:
        """The names of the files in a folder, in order."""
        return [name for name, is_file in self.entries(folder).items() if is_file]

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Put a file there, or another in its place, in one step. Its folder is there."""

    @abstractmethod
    def move(self, name: str, to: str) -> None:
        """Rename a file; what has the new name is replaced."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def make_folder(self, name: str) -> None:
        """Make a folder and those above it, as far as they are not there."""

    @abstractmethod
    def unusable(self) -> str | None:
        """Why nothing can be written here, as far as that is known without writing: `PLACE cannot ...`."""

    def free_bytes(self) -> int | None:
        """The room left; None where that is unknown."""
        return None


def files_at(root: str) -> Files:
    """The files of a folder, given as a path or a URI. Raises OSError where it is no URI that can be used."""
    if not uris.is_uri(root):
        return Local(Path(root), root)
    if why := uris.trouble(root):
        raise OSError(errno.EINVAL, why, uris.shown(root))
    parts = urlsplit(root)
    return Local(Path(unquote(parts.path)), root) if parts.scheme == "file" else Remote(root)


class Local(Files):
    """A folder of this machine: files that only their owner can read, flushed to disk and renamed."""

    readers = 2

    def __init__(self, path: Path, root: str | None = None) -> None:
        self.path = path
        self._shown = uris.shown(str(path) if root is None else root)

    def place(self, name: str = "") -> str:
        return f"{self._shown}/{name}" if name else self._shown

    def is_file(self, name: str) -> bool:
        return (self.path / name).is_file()

    def entries(self, folder: str = "") -> dict[str, bool]:
        path = self.path / folder
        if not path.exists():
            return {}
        with os.scandir(path) as found:
            return dict(sorted((entry.name, entry.is_file()) for entry in found))

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self.path / name
        try:
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(handle)
                Path(temporary).replace(path)
            finally:
                Path(temporary).unlink(missing_ok=True)
            _flush(path.parent)
        except OSError as error:  # of the file that was asked for, not of its hidden neighbour
            reason = error.strerror or str(error)
            raise OSError(error.errno or errno.EIO, reason, self.place(name)) from error

    def move(self, name: str, to: str) -> None:
        source, target = self.path / name, self.path / to
        source.replace(target)
        _flush(target.parent)
        _flush(source.parent)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def make_folder(self, name: str) -> None:
        folder = self.path / name
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            _flush(path.parent)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))

    def unusable(self) -> str | None:
        nearest = self._nearest()
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            return None
        return f"{nearest} cannot be written"

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._nearest()).free

    def _nearest(self) -> Path:
        """The folder, or the nearest above it that is there."""
        return next(path for path in (self.path, *self.path.absolute().parents) if path.exists())


def _flush(folder: Path) -> None:
    """Flush a folder's list of names to disk, so that a rename outlives a power cut."""
    if sys.platform == "win32":
        return  # a folder cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Remote(Files):
    """A folder of an object store or of another file system that pyarrow knows."""

    readers = 16

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._shown = uris.shown(uri)
        query, option = parts.query, _OPTIONS.get(parts.scheme, "")
        if option and option.partition("=")[0] not in query:
            query = f"{query}&{option}" if query else option
        self._uri = urlunsplit(parts._replace(query=query))
        with self._reasons(""):
            self._system, base = FileSystem.from_uri(self._uri)
        self._base = base.rstrip("/")
        self._makes_buckets = "allow_bucket_creation=true" in parts.query.lower()

    def place(self, name: str = "") -> str:
        return f"{self._shown}/{name}" if name else self._shown

    def is_file(self, name: str) -> bool:
        return self._kind(self._at(name)) == FileType.File

    def entries(self, folder: str = "") -> dict[str, bool]:
        with self._reasons(folder):
            found = self._system.get_file_info(FileSelector(self._at(folder), allow_not_found=True))
            return dict(sorted((info.base_name, info.is_file) for info in found))

    def read(self, name: str) -> bytes:
        for _ in range(10):
            with self._reasons(name), self._system.open_input_file(self._at(name)) as file:
                data = bytes(file.read())
            # An object replaced between being opened and being read is cut off at the length of the old one.
            with self._reasons(name):
                if self._system.get_file_info(self._at(name)).size == len(data):
                    return data
        raise OSError(errno.EBUSY, "is being replaced again and again", self.place(name))

    def write(self, name: str, data: bytes) -> None:
        def put() -> None:
            with self._system.open_output_stream(self._at(name)) as file:
                file.write(data)

        # What was written is published when the stream is closed, and every way out closes it. A Ctrl-C
        # between opening and writing would publish nothing at all, as a file; no Ctrl-C enters a thread.
        with self._reasons(name), ThreadPoolExecutor(1) as thread:
            thread.submit(put).result()

    def move(self, name: str, to: str) -> None:
        with self._reasons(name):
            self._system.move(self._at(name), self._at(to))

    def remove(self, name: str) -> None:
        try:
            with self._reasons(name):
                self._system.delete_file(self._at(name))
        except FileNotFoundError:
            pass

    def make_folder(self, name: str) -> None:
        with self._reasons(name):
            self._system.create_dir(self._at(name), recursive=True)

    def unusable(self) -> str | None:
        if not self._base:
            return f"{self._shown} names no bucket and cannot be written"
        bucket = self._base.split("/")[0]
        if self._system.type_name not in _WITH_BUCKETS or self._makes_buckets:
            return None
        return f"there is no bucket {bucket}: it cannot be written" if self._missing(bucket) else None

    def _missing(self, path: str) -> bool:
        return self._kind(path) == FileType.NotFound

    def _kind(self, path: str) -> FileType:
        with self._reasons(""):
            return self._system.get_file_info(path).type

    def _at(self, name: str) -> str:
        return str(PurePosixPath(self._base) / name)

    @contextmanager
    def _reasons(self, name: str) -> Iterator[None]:
        """Say every failure as an OSError of one line with the file's place."""
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.place(name)) from None
        except (OSError, pa.ArrowException) as error:
            number = getattr(error, "errno", None) or errno.EIO
            line = (str(error).replace(self._uri, self._shown).splitlines() or [type(error).__name__])[0]
            reason = re.sub(r"^.*?(?=AWS Error )| \(Request ID.*", "", line)
            raise OSError(number, reason, self.place(name)) from error
