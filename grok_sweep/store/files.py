"""A results folder as a place of whole files: on this machine, or wherever pyarrow.fs reaches.

A file is there whole or not at all, whatever dies at whatever moment. Names are relative to the folder, with
`/` in between.
"""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem

from grok_sweep.core import uris
from grok_sweep.errors import StoreError

TEMPORARY = ".grok-sweep-"  # how the hidden neighbour begins that a file is written into before it is renamed

# What from_uri is told besides. S3: a small object in one request, which no death can halve. Google: say
# within half a minute that nobody answers; its own limit is a quarter of an hour.
_OPTIONS = {
    "s3": "allow_delayed_open=true",
    "gs": "retry_limit_seconds=30",
    "gcs": "retry_limit_seconds=30",
}


class Files:
    """The files of a folder, given as a path or a URI.

    `path`: where it is on this machine, None where it is elsewhere; `readers`: how many files are worth
    reading at once. What reads raises FileNotFoundError where the file is not there, and StoreError, as the
    constructor does, where it cannot be read; what writes raises OSError, with the reason in `strerror` and
    the place in `filename`.
    """

    def __init__(self, root: str) -> None:
        self._root, self._shown = root, uris.shown(root)
        with self._reading():
            if not uris.is_uri(root):
                self._system, self._base = LocalFileSystem(), Path(root).absolute().as_posix()
            elif why := uris.trouble(root):
                raise OSError(why)
            else:
                parts = urlsplit(root)
                query = "&".join(filter(None, [_OPTIONS.get(parts.scheme), parts.query]))
                self._root = urlunsplit(parts._replace(query=query))
                self._system, self._base = FileSystem.from_uri(self._root)
        is_local = isinstance(self._system, LocalFileSystem)
        self.path = Path(self._base if uris.is_uri(root) else root) if is_local else None
        self.readers = 2 if is_local else 16

    def place(self, name: str = "") -> str:
        """What to call a file to a person, without passwords."""
        return f"{self._shown}/{name}" if name else self._shown

    def is_file(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with self._reading(name):
            return bool(self._system.get_file_info(self._at(name)).is_file)

    def names(self, folder: str = "") -> list[str]:
        """What is in a folder, in order; nothing where there is no folder."""
        with self._reading(folder):
            found = self._system.get_file_info(FileSelector(self._at(folder), allow_not_found=True))
            return sorted(info.base_name for info in found)

    def read(self, name: str) -> bytes:
        """The content of a file."""
        with self._reading(name), self._system.open_input_file(self._at(name)) as file:
            return bytes(file.read())

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, or another in its place, in one step; the folder itself must be there.

        On this machine only its owner can read it, and it outlives a power cut.
        """
        with self._reasons(name):
            if self.path is None:
                with self._system.open_output_stream(self._at(name)) as stream:
                    stream.write(data)
                return
            path = self.path / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(handle)
                Path(temporary).replace(path)
            finally:
                Path(temporary).unlink(missing_ok=True)
            _flush(path.parent)

    def move(self, name: str, to: str) -> None:
        """Rename a file; what has the new name is replaced. Its new folder is there."""
        with self._reasons(name):
            self._system.move(self._at(name), self._at(to))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError), self._reasons(name):
            self._system.delete_file(self._at(name))

    def make_folder(self, name: str = "") -> None:
        """Make a folder, and this one, as far as they are not there."""
        with self._reasons(name):
            if self.path is None:
                self._system.create_dir(self._at(name), recursive=True)
                return
            if not self.path.exists():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                _flush(self.path.parent)
            (self.path / name).mkdir(mode=0o700, exist_ok=True)

    def is_writable(self) -> bool:
        """Whether the folder can be written, or made, as far as that is known without trying."""
        above = _nearest(self.path) if self.path else None
        return above is None or (above.is_dir() and os.access(above, os.W_OK | os.X_OK))

    def free_bytes(self) -> int | None:
        """The room left; None where that is unknown."""
        return None if self.path is None else shutil.disk_usage(_nearest(self.path)).free

    def _at(self, name: str) -> str:
        return str(PurePosixPath(self._base) / name)

    @contextmanager
    def _reading(self, name: str = "") -> Iterator[None]:
        try:
            with self._reasons(name):
                yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{self.place(name)}: cannot be read: {error.strerror}") from None

    @contextmanager
    def _reasons(self, name: str) -> Iterator[None]:
        """Say every failure as an OSError of one line, without passwords, with the file's place."""
        try:
            yield
        except (OSError, pa.ArrowException, ValueError) as error:
            number = getattr(error, "errno", None)
            line = (str(error).replace(self._root, self._shown).splitlines() or [type(error).__name__])[0]
            reason = os.strerror(number) if number else line
            raise OSError(number or errno.EIO, reason, self.place(name)) from error


def _nearest(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _flush(folder: Path) -> None:
    """Flush a folder's list of names to disk, so that a rename outlives a power cut."""
    if sys.platform == "win32":
        return  # a folder cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
