"""The peer for looking features up: a feature store as Feast's documentation makes one, each feature a field of a view."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmarks.serving_world import World

VIEW, KEY = "customers", "customer_id"


def make_repo(world: World, redis: str, folder: Path) -> Path:
    """Put the features of the world's customers into a store of Feast's own kind.

    Args:
        world: whose customers.
        redis: the address of the same Redis, as Feast writes it: `host:port,db=1`.
        folder: is made; `feast -c` opens it.
    """
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.types import Float64
    from feast.value_type import ValueType

    folder.mkdir()
    (folder / "feature_store.yaml").write_text(
        f"project: peer\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"offline_store:\n  type: duckdb\nonline_store:\n  type: redis\n  connection_string: {redis}\n"
    )
    names = [str(name) for name in world.model.columns]
    frame = pd.DataFrame(world.rows, columns=names).assign(**{KEY: world.ids, "at": pd.Timestamp(datetime.now(UTC))})
    frame.to_parquet(folder / "customers.parquet")
    view = FeatureView(
        name=VIEW,
        entities=[customer := Entity(name="customer", join_keys=[KEY], value_type=ValueType.STRING)],
        schema=[Field(name=name, dtype=Float64) for name in names],
        source=FileSource(path=str(folder / "customers.parquet"), timestamp_field="at"),
    )
    store = FeatureStore(repo_path=str(folder))
    store.apply([customer, view])
    store.write_to_online_store(VIEW, frame)
    return folder
