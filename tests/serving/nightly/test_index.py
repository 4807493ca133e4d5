"""A file that has not changed is not read again; one that may have is."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from serving.nightly.index import EPOCH, TICK, digests

LATER = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def of(content: bytes) -> str:
    return sha256(content).hexdigest()


@pytest.fixture
def export(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "export" / name for name in ("orders.csv", "customers.csv")]
    files[0].parent.mkdir()
    for path in files:
        path.write_bytes(path.name.encode())
    time.sleep(0.02)  # a tick of an older Linux's clock for files, within which a change has the same time
    return files


@pytest.fixture
def index(export: list[Path], tmp_path: Path) -> Path:
    """That remembers both files."""
    path = tmp_path / "nightly" / "export.json"
    digests(export, path, now() + LATER)
    return path


def read(files: list[Path], index: Path, at: datetime) -> set[str]:
    """Which files are read: one that is not gets the digest that the index says, which is made a false one here."""
    index.write_text(index.read_text().replace(of(b"orders.csv"), "known").replace(of(b"customers.csv"), "known"))
    return {name for name, told in digests(files, index, at).items() if told != "known"}


def test_files_that_have_not_changed_are_not_read(export: list[Path], index: Path) -> None:
    assert digests(export, index, now() + LATER) == {path.name: of(path.name.encode()) for path in export}
    assert read(export, index, now() + LATER) == set()


@pytest.mark.parametrize("keeps_times", [False, True])
@pytest.mark.parametrize("how", ["another size", "the same size", "another file of the same size"])
def test_a_file_that_has_changed_is_read_whatever_its_times_say(
    export: list[Path], index: Path, how: str, keeps_times: bool
) -> None:
    path, before = export[0], export[0].stat()
    content = b"more orders.csv" if how == "another size" else b"ORDERS.CSV"
    if how.startswith("another file"):
        path.with_name("new").write_bytes(content)
        path.with_name("new").replace(path)
    else:
        path.write_bytes(content)
    if keeps_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digests(export, index, now() + LATER)[path.name] == of(content)


def test_a_file_that_changed_within_a_tick_before_the_night_is_read_again(export: list[Path], tmp_path: Path) -> None:
    index = tmp_path / "export.json"
    changed = min(path.stat().st_ctime_ns for path in export)
    at = EPOCH + timedelta(microseconds=changed // 1_000) + TICK
    digests(export, index, at)
    assert not index.is_file()
    digests(export, index, at + LATER)
    assert read(export, index, at + LATER) == set()


def test_after_a_clock_was_put_back_files_are_read(export: list[Path], index: Path) -> None:
    for content in (b"new", b"NEW"):
        export[0].write_bytes(content)
        found = digests(export, index, now() - timedelta(days=365))
        assert found == {"orders.csv": of(content), "customers.csv": of(b"customers.csv")}


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"orders.csv": 3}', '{"orders.csv": [[1], 2, 3]}'])
def test_a_damaged_index_remembers_nothing(export: list[Path], index: Path, damage: str) -> None:
    index.write_text(damage)
    assert digests(export, index, now() + LATER)["orders.csv"] == of(b"orders.csv")
    assert read(export, index, now() + LATER) == set()


def test_an_index_that_cannot_be_written_costs_only_time(export: list[Path], tmp_path: Path) -> None:
    (tmp_path / "nightly").write_text("a file")
    assert digests(export, tmp_path / "nightly" / "export.json", now() + LATER)["orders.csv"] == of(b"orders.csv")


def test_an_unchanged_file_of_many_bytes_costs_no_time(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    path, index = tmp_path / "export" / "large", tmp_path / "index.json"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    began = time.process_time()
    first = digests([path], index, now() + LATER)
    read_in = time.process_time() - began
    began = time.process_time()
    assert digests([path], index, now() + LATER) == first
    assert time.process_time() - began < read_in / 10
    shutil.rmtree(path.parent)
