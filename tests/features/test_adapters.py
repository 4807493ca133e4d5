"""The shipped adapters on the real data they were written for: row counts, traps, and nothing known too early."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from features import ingest, propensity
from features.catalog import Catalog
from features.database import connect
from features.errors import LeakageError
from features.settings import Settings, Workspace
from features.views import views

NOW = datetime(2030, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.real_data
Ingested = tuple[Workspace, Catalog]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Callable[[str], Ingested]:
    made: dict[str, Ingested] = {}

    def of(adapter: str) -> Ingested:
        if adapter not in made:
            settings = Settings.model_validate({"adapter": adapter, "source": str(shared_data / adapter)})
            workspace = Workspace(tmp_path_factory.mktemp(adapter), settings)
            made[adapter] = workspace, ingest.run(workspace, NOW)
        return made[adapter]

    return of


def query(of: Ingested, sql: str) -> list[tuple[object, ...]]:
    """SQL over the stored tables, each a view of its name."""
    workspace, catalog = of
    with connect(workspace) as connection:
        for table in catalog.tables:
            connection.execute(f"create view {table} as from read_parquet('{catalog.path(workspace, table)}')")
        return connection.execute(sql).fetchall()


def test_olist_has_every_lead_seller_and_item(ingested: Callable[[str], Ingested]) -> None:
    olist = ingested("olist")
    assert olist[1].observed_until == "2018-05-15T00:00:00+00:00"
    assert query(olist, "select count(*), count(converted_at), count(distinct lead_id) from leads") == [(7296, 601, 7296)]
    assert query(olist, "select count(*), count(distinct order_id), count(category) > 80000 from orders") == [
        (85725, 85725, True)
    ]
    selling, won_and_not_selling = 2441, 461
    assert query(olist, "select count(distinct customer_id) from customers") == [(selling + won_and_not_selling,)]
    assert query(olist, "select count(*) from orders anti join customers using (customer_id)") == [(0,)]


def test_olist_s_seller_is_known_from_the_deal_and_its_state_from_the_first_item(ingested: Callable[[str], Ingested]) -> None:
    """The sellers' file lists only those who ever sold: a state before the first item would tell that there will be one."""
    olist = ingested("olist")
    first = "(select customer_id, min(occurred_at) as first_item_at from orders group by all)"
    early = (
        f"select count(*) from customers join {first} using (customer_id) where known_at < first_item_at and state is not null"
    )
    assert query(olist, early) == [(0,)]
    assert query(olist, "select count(*) from customers where known_until is not null and state is null") == [(140,)]
    assert query(olist, "select count(*) from customers where known_until is null and state is null") == [(461,)]
    assert query(olist, f"select count(*) from customers join {first} using (customer_id) where created_at > first_item_at") == [
        (0,)
    ]


def test_olist_s_lead_is_known_when_the_day_of_its_first_contact_is_over(ingested: Callable[[str], Ingested]) -> None:
    sql = "select distinct known_at - created_at from leads"
    assert query(ingested("olist"), sql) == [(pd.Timedelta(days=1, microseconds=-1).to_pytimedelta(),)]


def test_a_column_filled_only_for_won_leads_cannot_become_a_feature(tmp_path: Path, shared_data: Path) -> None:
    deals = duckdb.connect().sql(f"from '{shared_data / 'olist' / 'olist_closed_deals_dataset.csv'}'").columns
    for column in set(deals) - {"mql_id"}:
        attributes = {"leads": {column: {"fixed": column < "has"}}}
        settings = {"adapter": "olist", "source": str(shared_data / "olist"), "attributes": attributes}
        with pytest.raises(LeakageError, match=column) as caught:
            ingest.run(Workspace(tmp_path, Settings.model_validate(settings)), NOW)
        assert "outcome" in caught.value.received


def test_no_feature_of_olist_s_leads_reads_more_than_what_is_known_at_the_start(ingested: Callable[[str], Ingested]) -> None:
    workspace, catalog = ingested("olist")
    assert set(catalog.attributes["leads"]) == {"origin", "landing_page_id"}
    assert set(catalog.tables["leads"].columns) == {
        "lead_id", "created_at", "converted_at", "origin", "landing_page_id", "known_at", "known_until",
    }  # fmt: skip
    columns = {feature.column for view in views(workspace, catalog) if view.entity == "lead" for feature in view.features}
    assert columns <= {"", "created_at", "origin", "landing_page_id"}


def test_online_retail_has_every_line_of_a_known_customer(ingested: Callable[[str], Ingested]) -> None:
    retail = ingested("online_retail")
    returns, positive = "count(*) filter (where is_return)", "count(*) filter (where is_return and amount > 0)"
    assert query(retail, f"select count(*), count(distinct order_id), {returns}, {positive} from orders") == [
        (232053, 232053, 5565, 0)
    ]
    assert query(retail, "select count(*), count(country), bool_and(customer_id not like '%.%') from customers") == [
        (3360, 3360, True)
    ]
    assert query(retail, "select count(*) from orders anti join customers using (customer_id)") == [(0,)]
    bought = "select count(distinct customer_id) from orders where occurred_at < timestamp '2011-06-01' and not is_return"
    assert query(retail, bought) == [(2718,)]


def test_telco_is_one_moment_with_the_leavers_inside_the_month_after(ingested: Callable[[str], Ingested]) -> None:
    telco = ingested("telco")
    workspace, catalog = telco
    as_ofs = propensity.load(workspace, "churn").as_ofs(datetime(2010, 1, 1, tzinfo=UTC), catalog.now)
    assert as_ofs == [datetime(2018, 1, 1, tzinfo=UTC)]
    assert query(telco, "select count(*), count(total_charges), count(monthly_charges) from customers") == [(7043, 7032, 7043)]
    left = "count(*) filter (where ended_at >= timestamp '2018-01-01' and ended_at < timestamp '2018-01-31')"
    assert query(telco, f"select count(*), count(ended_at), {left} from subscriptions") == [(7043, 1869, 1869)]
    assert query(telco, "select max(known_at) < timestamp '2018-01-01' from customers") == [(True,)]
    assert "churn" not in catalog.tables["customers"].columns


@pytest.mark.parametrize("adapter", ["olist", "online_retail", "telco"])
def test_every_propensity_of_a_real_adapter_can_be_read(adapter: str, ingested: Callable[[str], Ingested]) -> None:
    workspace, catalog = ingested(adapter)
    for found in propensity.load_all(workspace):
        if catalog.has(f"{found.entity}s") and catalog.has(found.outcome.source):
            assert found.as_ofs(datetime(2005, 1, 1, tzinfo=UTC), catalog.now), f"{found.name} has no mature as_of"


@pytest.mark.parametrize("adapter", ["olist", "online_retail", "telco"])
def test_the_same_export_is_the_same_version(adapter: str, ingested: Callable[[str], Ingested]) -> None:
    workspace, catalog = ingested(adapter)
    assert ingest.run(workspace, NOW).version == catalog.version
