"""Snapshots by Spark: the same statements in its words, the same files, several of them where they are large."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from features.catalog import Catalog
from features.engine import file, label
from features.manifest import table_digests
from features.settings import Workspace
from features.spark.dialect import spark_sql
from features.spark.place import Place, place
from features.spark.session import session, working
from features.tables import TABLES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LABEL = "snapshot_label"
STAGING = ".spark"  # Spark and Feast pass over names that begin with a dot


class SparkEngine:
    """The canonical tables as views of a session."""

    def __init__(self, workspace: Workspace, catalog: Catalog) -> None:
        """Tell Spark where the tables are; those that the store of `[spark]` lacks are copied there.

        Raises:
            CallError: Spark cannot be started.
        """
        import pyspark

        self._session, self._catalog = session(workspace), catalog
        self._rows_per_file = workspace.settings.spark.rows_per_file
        self.version = f"spark {pyspark.__version__}"
        self.snapshots = place(workspace, workspace.snapshots)
        self.relations = {name: name for name in catalog.tables}
        for name in catalog.tables:
            source = catalog.path(workspace, name)
            held = place(workspace, source)
            held.fill(source)
            with working(f"table {name}"):
                self._session.read.parquet(str(held)).createOrReplaceTempView(name)

    def digests(self, table: str, as_ofs: Sequence[datetime]) -> list[str]:
        columns = self._catalog.tables[table].columns
        with working(f"digests of {table}"):
            row = self._session.sql(spark_sql(table_digests(table, TABLES[table], columns, as_ofs))).collect()[0]
        return [str(value) for value in row]

    def write(self, statement: str, target: Place, as_ofs: Sequence[datetime]) -> Iterator[datetime]:
        """One job writes the files of every as_of beside each other; then they are put in place."""
        staging = target / STAGING
        with working(f"snapshots of {target.name}"):
            rows = self._session.sql(spark_sql(statement))
            self._labelled(rows, len(as_ofs)).write.mode("overwrite").partitionBy(LABEL).parquet(str(staging))
        for as_of in as_ofs:
            parts = sorted((staging / f"{LABEL}={label(as_of)}").glob("part-*.parquet"), key=lambda part: part.name)
            for number, part in reversed(list(enumerate(parts or [self._nobody(rows, staging)]))):
                part.replace(target / file(as_of, number))
            yield as_of
        staging.rmtree()

    def _labelled(self, rows: DataFrame, as_ofs: int) -> DataFrame:
        """The rows with their as_of in the words of a file's name, and shuffled so that one task writes one file."""
        from pyspark.sql import functions as f

        largest = max(table.rows for table in self._catalog.tables.values() if TABLES[table.name].kind == "entity")
        buckets = max(1, math.ceil(largest / self._rows_per_file))
        named = rows.withColumn(LABEL, f.date_format("event_timestamp", "yyyyMMdd'T'HHmmssSSSSSS'Z'"))
        bucket = f.pmod(f.xxhash64("entity_id"), f.lit(buckets))
        return named.repartition(as_ofs * buckets, LABEL, bucket).sortWithinPartitions(LABEL, "entity_id")

    def _nobody(self, rows: DataFrame, staging: Place) -> Place:
        """A file of no rows, for an as_of at which nobody was known."""
        empty = staging / "nobody"
        rows.limit(0).coalesce(1).write.mode("overwrite").parquet(str(empty))
        return next(iter(empty.glob("part-*.parquet")))
