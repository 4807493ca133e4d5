from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from features.errors import CallError, WorkspaceError
from features.settings import REPOSITORY, SETTINGS_FILE, Settings, SparkSettings, Workspace
from features.spark.session import conf, session


def workspace(**settings: object) -> Workspace:
    return Workspace(Path("/nowhere"), Settings(spark=SparkSettings(**settings)))


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    with pytest.raises(CallError) as told:
        session(workspace())
    assert told.value.repair == "`pip install 'foresell[spark]'`"


def test_without_java_it_says_what_to_install(monkeypatch, tmp_path):
    idle = SimpleNamespace(getActiveSession=lambda: None)
    monkeypatch.setitem(sys.modules, "pyspark.errors", SimpleNamespace(PySparkException=RuntimeError))
    monkeypatch.setitem(sys.modules, "pyspark.sql", SimpleNamespace(SparkSession=idle))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(CallError) as told:
        session(workspace())
    assert (told.value.received, told.value.exit_code) == ("no Java", 2)
    assert "Java 17" in told.value.repair


def test_executors_on_this_machine_are_this_python_with_this_foresell(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    here = conf(workspace(master="local-cluster[2,1,1024]"))
    assert here["spark.pyspark.python"] == sys.executable
    assert here["spark.executorEnv.PYTHONPATH"] == str(REPOSITORY)
    there = conf(workspace(master="yarn"))
    assert not {"spark.pyspark.python", "spark.executorEnv.PYTHONPATH", "spark.driver.host"} & set(there)


def test_the_workspace_s_own_settings_go_over_the_rest(monkeypatch):
    monkeypatch.setenv("SECRET", "pass=word")
    own = {"spark.hadoop.fs.s3a.secret.key": "${SECRET}", "spark.sql.parquet.compression.codec": "snappy"}
    found = conf(workspace(packages=("a:b:1", "c:d:2"), conf=own))
    assert found["spark.hadoop.fs.s3a.secret.key"] == "pass=word"
    assert found["spark.sql.parquet.compression.codec"] == "snappy"
    assert found["spark.jars.packages"] == "a:b:1,c:d:2"
    assert found["spark.sql.session.timeZone"] == "UTC"


@pytest.mark.parametrize("line", ['conf = { "fs.s3a.endpoint" = "x" }', "masters = 1", "rows_per_file = 0"])
def test_what_spark_would_not_read_is_an_error(tmp_path, line):
    (tmp_path / SETTINGS_FILE).write_text(f"[spark]\n{line}\n", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="spark"):
        Workspace.open(tmp_path)
