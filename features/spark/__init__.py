"""The second engine: the same features and scores on Apache Spark, for what is too large for one machine."""
