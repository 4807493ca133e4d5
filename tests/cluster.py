"""Settings for a cluster on this machine whose executors are processes of their own."""

from __future__ import annotations

# what helps a cluster with large data only makes small work slow
SPARK = """\
[spark]
master = "local-cluster[2,1,1024]"
[spark.conf]
"spark.sql.shuffle.partitions" = "2"
"spark.sql.adaptive.enabled" = "false"
"spark.sql.codegen.wholeStage" = "false"
"spark.driver.extraJavaOptions" = "-XX:TieredStopAtLevel=1"
"spark.executor.extraJavaOptions" = "-XX:TieredStopAtLevel=1"
"spark.task.maxFailures" = "2"
"""
