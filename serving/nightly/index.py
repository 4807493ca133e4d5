"""The index: digests of files that were read before, so that a large export is read again only where it has changed.

A file is taken for unchanged while its size, its times of change and its place on the disk are the same. Two changes within one
tick of the disk's clock look alike: so of a file that had changed just before a night began nothing is remembered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from features.catalog import sweep, write_atomically
from serving.partition import digest

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(seconds=2)  # of the coarsest disk, which is FAT


def digests(files: Iterable[Path], index: Path, now: datetime) -> dict[str, str]:
    """By name, the digest of each file; those that have not changed are not read.

    Args:
        files: with names of their own.
        index: the file in which digests are remembered; one that is not there, or damaged, remembers nothing.
        now: an instant before the first of them is read, by the clock that files get their times from.
    """
    known, found = _known(index), {}
    settled = (now - TICK - EPOCH) // timedelta(microseconds=1) * 1_000
    for path in files:
        told = path.stat()
        stamp = [told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino]
        before = known.get(path.name)
        found[path.name] = before if before and before[0] == stamp else (stamp, digest(path))
    remembered = {name: one for name, one in found.items() if max(one[0][1:3]) < settled}
    if remembered != known:
        with suppress(OSError):  # of a full disk: they are read again
            sweep(index.parent, index.name)
            write_atomically(index, (json.dumps(remembered, indent=1, sort_keys=True) + "\n").encode())
    return {name: one for name, (_, one) in found.items()}


def _known(index: Path) -> dict[str, tuple[list[int], str]]:
    """By name, size, times in nanoseconds and inode, and the digest."""
    try:
        raw = json.loads(index.read_text(encoding="utf-8"))
        return {name: ([int(part) for part in stamp], str(told)) for name, (stamp, told) in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
