"""The Spark session of a workspace: one per process, as `[spark]` in foresell.toml says."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from features.errors import CallError, EngineError
from features.settings import REPOSITORY, Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What equal results rest on, and what a command line needs
FIXED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the default can be read by no other engine's clock
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",  # it would be drawn into the output of `--json`
    "spark.log.level": "ERROR",
}
# Executors on this machine are this Python with this Foresell; the files they share are plain ones, without checksums beside them
HERE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.pyspark.python": sys.executable,
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
}


def session(workspace: Workspace) -> SparkSession:
    """The session of this process, begun if there is none.

    Raises:
        CallError: pyspark or Java is missing, or Spark does not start.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise _cannot_start("no package pyspark", "`pip install 'foresell[spark]'`") from None
    running = SparkSession.getActiveSession()
    if running is None and not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise _cannot_start("no Java", "install Java 17 or newer, or set JAVA_HOME where it is")
    told = conf(workspace)
    if "spark.pyspark.python" in told:  # pyspark looks for it in the environment alone
        os.environ.setdefault("PYSPARK_PYTHON", told["spark.pyspark.python"])
    builder = SparkSession.builder.appName("foresell")
    if workspace.settings.spark.master:
        builder = builder.master(workspace.settings.spark.master)
    for name, value in told.items():
        builder = builder.config(name, value)
    try:
        found = builder.getOrCreate()
    except PySparkException as problem:
        raise _cannot_start(
            str(problem).splitlines()[0], "what Spark wrote above says why; Java must be 17 or newer"
        ) from problem
    if running is None:
        atexit.register(found.stop)  # executors that lose their driver tell it at length
    return found


@contextmanager
def working(what: str) -> Iterator[None]:
    """Turns what Spark raises when a job fails into an error that says which.

    Raises:
        EngineError: it did.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as problem:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        told = next((line for line in reversed(lines) if "Error" in line and not line.startswith("at ")), lines[0])
        raise EngineError(
            f"engine spark, {what}",
            expected="every task done",
            received=told[:500],
            repair="see what the executor wrote; where memory was short, raise `spark.executor.memory` in `[spark] conf`",
        ) from problem


def task() -> tuple[int, int]:
    """On an executor: the number of the partition that is at work, and a number that no other try of any task has."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return (context.partitionId(), context.taskAttemptId()) if context else (0, 0)


def conf(workspace: Workspace) -> dict[str, str]:
    """What the session is begun with; the workspace's own `[spark] conf` goes over the rest."""
    settings = workspace.settings.spark
    found = dict(FIXED)
    if settings.master.startswith("local"):
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        found |= {**HERE, "spark.executorEnv.PYTHONPATH": path}
    if settings.packages:
        found["spark.jars.packages"] = ",".join(settings.packages)
    return found | {name: os.path.expandvars(value) for name, value in settings.conf.items()}


def _cannot_start(received: str, repair: str) -> CallError:
    return CallError("engine spark", expected="pyspark 4 and Java 17", received=received, repair=repair)
