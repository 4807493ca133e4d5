from __future__ import annotations

import hashlib
from pathlib import Path

from features.manifest import Manifest
from features.settings import Settings, SparkSettings, Workspace
from features.spark.place import Place, place


def test_without_a_store_everything_lies_where_it_always_does(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "a b", Settings())
    assert place(workspace, workspace.scores).uri == f"file://{tmp_path}/a b/scores"


def test_a_store_has_the_names_of_the_workspace(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Settings(spark=SparkSettings(store=f"{tmp_path}/store/")))
    assert place(workspace, workspace.snapshots).uri == f"file://{tmp_path}/store/data/snapshots"


def test_it_does_what_a_path_does(tmp_path: Path) -> None:
    folder = Place(str(tmp_path / "new" / "folder"))
    assert list(folder.glob("*")) == []
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one.txt").write_bytes(b"1")
    (folder / "one.txt").write_bytes(b"2")
    assert (folder / "one.txt").read_text() == "2" and (folder / "one.txt").is_file()
    assert (folder / "one.txt").sha256() == hashlib.sha256(b"2").hexdigest()
    (folder / "one.txt").replace(folder / "two.txt")
    assert [path.name for path in folder.glob("*.txt")] == ["two.txt"]
    (folder / "two.txt").unlink()
    assert not (folder / "two.txt").is_file()
    folder.rmtree()
    assert not (tmp_path / "new" / "folder").exists()


def test_a_local_file_is_copied_once_and_again_only_where_that_is_asked(tmp_path: Path) -> None:
    source, target = tmp_path / "table.parquet", Place(str(tmp_path / "store" / "table.parquet"))
    source.write_bytes(b"old")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "table.parquet.new").write_bytes(b"half")  # what a killed copy leaves
    target.fill(source)
    source.write_bytes(b"new")
    target.fill(source)
    assert target.read_text() == "old"
    target.fill(source, again=True)
    assert target.read_text() == "new"
    Place(str(source)).fill(source, again=True)
    assert source.read_bytes() == b"new"


def test_a_manifest_is_kept_in_one(tmp_path: Path) -> None:
    folder = Place(str(tmp_path))
    Manifest(folder).drop_others("sql")
    (tmp_path / "a.parquet").touch()
    manifest = Manifest(folder)
    manifest.add("a.parquet", "digest")
    manifest.save()
    assert Manifest(folder).holds("a.parquet", "digest") and not Manifest(folder).holds("b.parquet", "digest")
    Manifest(folder).drop_others("other sql")
    assert not (tmp_path / "a.parquet").exists()
