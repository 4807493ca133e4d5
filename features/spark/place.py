"""A folder that every executor reaches: the workspace itself, or one in an object store, under the same names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Literal, cast

import pyarrow.fs

from features.settings import Workspace

_DISK = "file://"


class Place:
    """A file or a folder where pyarrow reaches it, with the few words of `pathlib.Path` that are needed."""

    def __init__(self, uri: str) -> None:
        """Take an address such as `s3a://bucket/prefix`, which is what Spark calls it, or a path."""
        self.uri = f"file://{uri}" if uri.startswith("/") else uri
        if self.uri.startswith(_DISK):
            self._files, self._path = pyarrow.fs.LocalFileSystem(), self.uri.removeprefix(_DISK)
        else:
            self._files, self._path = pyarrow.fs.FileSystem.from_uri(self.uri.replace("s3a://", "s3://"))

    @property
    def name(self) -> str:
        return self.uri.rpartition("/")[2]

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self.uri}/{name}")

    def __str__(self) -> str:
        return self.uri

    def glob(self, pattern: str) -> Iterable[Place]:
        chosen = pyarrow.fs.FileSelector(self._path, allow_not_found=True)
        return [self / info.base_name for info in self._files.get_file_info(chosen) if fnmatch(info.base_name, pattern)]

    def is_file(self) -> bool:
        return bool(self._files.get_file_info(self._path).type == pyarrow.fs.FileType.File)

    def mkdir(self, *, parents: bool = True, exist_ok: bool = True) -> None:
        self._files.create_dir(self._path, recursive=parents)

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:
        return cast(IO[bytes], self._files.open_input_file(self._path))

    def create(self) -> IO[bytes]:
        """A file that is written from its beginning."""
        return cast(IO[bytes], self._files.open_output_stream(self._path))

    def read_text(self, encoding: str = "utf-8") -> str:
        with self.open() as file:
            return file.read().decode(encoding)

    def sha256(self) -> str:
        """The digest of a file."""
        with self._files.open_input_file(self._path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write_bytes(self, content: bytes) -> None:
        """In place of what is there, in one step."""
        neighbour = f"{self._path}.new"
        with self._files.open_output_stream(neighbour) as file:
            file.write(content)
        self._files.move(neighbour, self._path)

    def unlink(self) -> None:
        self._files.delete_file(self._path)

    def replace(self, target: Place) -> None:
        self._files.move(self._path, target._path)

    def rmtree(self) -> None:
        self._files.delete_dir(self._path)

    def fill(self, source: Path, *, again: bool = False) -> None:
        """Copy a local file to here, unless it is here already or `again` says that it may be another by now."""
        if self._path != str(source) and (again or not self.is_file()):
            self._files.create_dir(self._path.rpartition("/")[0], recursive=True)
            neighbour = f"{self._path}.new"  # a killed copy must not be taken for the table
            pyarrow.fs.copy_files(str(source), neighbour, pyarrow.fs.LocalFileSystem(), self._files)
            self._files.move(neighbour, self._path)


def place(workspace: Workspace, path: Path) -> Place:
    """Where Spark keeps what the workspace has at a path."""
    store = workspace.settings.spark.store
    return Place(f"{store.rstrip('/')}/{path.relative_to(workspace.root)}" if store else str(path))
