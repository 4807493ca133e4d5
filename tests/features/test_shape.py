"""A file's declared shape: other names of files and columns, columns that may be missing, rows that are left out."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from features.errors import TableError, WorkspaceError
from features.export import Export
from features.settings import Workspace
from features.shape import Shape, plain
from tests.features.export_files import export, rows, run
from tests.features.test_adapter import CUSTOMERS_SQL, own

ORDERS_SQL = "select orders.id as order_id, customer_id, made as occurred_at, coalesce(price, '0') as amount from orders"
TOML = """
description = "ours"
[needs]
customers = ["customers"]
orders = ["orders"]
[files.customers]
columns = ["customer_id", "created_at"]
[files.customers.called]
created_at = ["made"]
[files.orders]
names = ["crm_orders"]
columns = ["id", "customer_id", "made"]
optional = ["price"]
without = { is_deleted = true }
"""


def crm(root: Path, files: dict[str, str], needs: str = "") -> Workspace:
    own(root, TOML.replace('orders = ["orders"]', needs or 'orders = ["orders"]'), customers=CUSTOMERS_SQL, orders=ORDERS_SQL)
    return export(root, files, adapter="crm")


@pytest.mark.parametrize("name", ["orders.csv", "Orders.csv", "crm_orders.csv", "CRMOrders.tsv"])
def test_a_file_is_found_under_each_of_its_names_and_so_are_its_columns(tmp_path: Path, name: str) -> None:
    workspace = crm(
        tmp_path, {name: "ID,CustomerId,Made,IsDeleted\n1,c1,2024-02-01,false\n2,c1,2024-02-01,TRUE\n3,c2,2024-02-02,\n"}
    )
    assert rows(workspace, run(workspace), "orders", "order_id, customer_id, amount") == [("1", "c1", 0), ("3", "c2", 0)]


def test_a_column_is_taken_as_declared_before_one_that_reads_the_same() -> None:
    shape = Shape(columns=("made_at",))
    with duckdb.connect() as connection:
        connection.execute('create table t as select 1 as "MadeAt", 2 as made_at')
        assert connection.execute(shape.select({"MadeAt": "INTEGER", "made_at": "INTEGER"}, "t")).fetchall() == [("2",)]


def test_an_id_is_the_same_text_whatever_type_a_file_gives_it() -> None:
    shape = Shape(columns=("id",))
    with duckdb.connect() as connection:
        for kind, value in (("DOUBLE", "17.0"), ("BIGINT", "17"), ("VARCHAR", "' 17 '")):
            connection.execute(f"create or replace table t as select cast({value} as {kind}) as id")
            assert connection.execute(shape.select({"id": kind}, "t")).fetchall() == [("17",)]


def test_only_a_shape_that_says_so_hands_other_columns_through() -> None:
    delivered = {"id": "VARCHAR", "Region__c": "VARCHAR"}
    assert '"Region__c"' in Shape(columns=("id",), further=True).select(delivered, "t")
    assert '"Region__c"' not in Shape(columns=("id",)).select(delivered, "t")


def test_a_file_that_is_not_needed_has_no_rows(tmp_path: Path) -> None:
    workspace = crm(tmp_path, {}, needs="orders = []")
    catalog = run(workspace)
    assert not catalog.has("orders")
    assert "orders: left out, because the export has no orders" in catalog.notes


def test_a_table_that_comes_out_empty_is_left_out(tmp_path: Path) -> None:
    catalog = run(crm(tmp_path, {"orders.csv": "id,customer_id,made,is_deleted\n1,c1,2024-02-01,true\n"}))
    assert not catalog.has("orders")
    assert "orders: left out, because no row of orders.csv belongs in it" in catalog.notes


def test_a_column_that_must_be_there_is_asked_for_with_those_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="column customer_id") as caught:
        run(crm(tmp_path, {"orders.csv": "Id,Customers,Made\n1,c1,2024-02-01\n"}))
    assert caught.value.received == "columns Id, Customers, Made"


def test_a_fault_is_shown_by_its_row_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="column amount") as caught:
        run(crm(tmp_path, {"orders.csv": "id,customer_id,made,price,is_deleted\n1,c1,2024-02-01,5,true\n2,c1,2024-02-01,x,\n"}))
    assert "'2'" in caught.value.received and "'x'" in caught.value.received


def test_two_files_of_one_shape_are_refused(tmp_path: Path) -> None:
    (tmp_path / "Orders.csv").write_text("id\n1\n")
    (tmp_path / "crm_orders.csv").write_text("id\n1\n")
    with pytest.raises(TableError, match=r"Orders\.csv and crm_orders\.csv"):
        Export.open(tmp_path, {"orders": Shape(names=("crm_orders",), columns=("id",))})


def test_a_needed_file_that_the_sql_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="oders, which it does not"):
        run(crm(tmp_path, {}, needs='orders = ["oders"]'))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("columns = []", "columns"),
        ('columns = ["id"]\ncalled = { made = ["created"] }', "`called` names made"),
        ("columns = 1", "columns"),
    ],
)
def test_a_shape_that_says_nothing_is_refused(tmp_path: Path, shape: str, said: str) -> None:
    own(tmp_path, f'description = "ours"\n[files.customers]\n{shape}\n', customers=CUSTOMERS_SQL)
    with pytest.raises(WorkspaceError, match=said):
        run(export(tmp_path, {}, adapter="crm"))


@pytest.mark.parametrize("name", ["CreatedDate", "created_date", "Created Date", "CREATED-DATE"])
def test_names_are_compared_by_their_letters_and_digits(name: str) -> None:
    assert plain(name) == "createddate"
