"""Export files of every format are found by their stems, and a file that is not whole is found out."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from features.errors import TableError
from features.export import Export
from tests.features.export_files import CUSTOMERS, export, rows, run

FRAME = pd.DataFrame({"customer_id": ["c1", "c2"], "created_at": pd.to_datetime(["2024-01-01T00:00:00", "2024-01-02T03:04:05"])})
EXPECTED = [("c1", pd.Timestamp("2024-01-01")), ("c2", pd.Timestamp("2024-01-02T03:04:05"))]


def _parquet(path: Path) -> None:
    with duckdb.connect() as connection:
        connection.register("frame", FRAME)
        connection.execute(f"copy frame to '{path}' (format parquet)")


WRITERS = {
    "customers.csv": lambda path: FRAME.to_csv(path, index=False),
    "customers.csv.gz": lambda path: FRAME.to_csv(path, index=False),
    "customers.tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    "customers.parquet": _parquet,
    "customers.xlsx": lambda path: FRAME.to_excel(path, index=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_table_is_found_by_its_stem_whatever_its_format(tmp_path: Path, name: str) -> None:
    workspace = export(tmp_path, {})
    (tmp_path / "export" / "customers.csv").unlink()
    WRITERS[name](tmp_path / "export" / name)
    assert rows(workspace, run(workspace), "customers", "customer_id, created_at") == EXPECTED


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffcustomer_id,created_at\nc1,2024-01-01\n",
        "customer_id;created_at\r\nc1;2024-01-01\r\n",
        '"customer_id"|"created_at"\n"c1"|"2024-01-01"\n',
        " customer_id ,Created_At\nc1,2024-01-01",
        'customer_id,created_at\r\n"c1",2024-01-01\r\n\r\n',
    ],
    ids=["byte order mark", "semicolons", "bars and quotes", "case, blanks, no end", "blank line"],
)
def test_headers_and_delimiters(tmp_path: Path, text: str) -> None:
    workspace = export(tmp_path, {"customers.csv": text})
    assert rows(workspace, run(workspace), "customers", "customer_id, created_at") == [("c1", pd.Timestamp("2024-01-01"))]


def test_a_value_may_hold_line_breaks_and_quotes(tmp_path: Path) -> None:
    orders = 'order_id,customer_id,occurred_at,amount,category\r\no1,c1,2024-02-01,1,"say ""hi"",\nthen go"\r\n'
    workspace = export(tmp_path, {"orders.csv": orders})
    assert rows(workspace, run(workspace), "orders", "category") == [('say "hi",\nthen go',)]


def _cut_parquet(path: Path) -> bytes:
    _parquet(path)
    content = path.read_bytes()
    path.unlink()
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("orders.csv", b"", "an empty file"),
        ("orders.csv", b"\n", "no header"),
        ("orders.csv", b"order_id,customer_id,occurred_at,amount\no1,c1,2024-02-01,5\no2,c1,2024-", "line 3 ('o2,c1,2024-')"),
        ("orders.csv", b'order_id,customer_id,occurred_at,amount\no1,c1,2024-02-01,"5', "unterminated quote"),
        ("orders.csv", b"order_id,customer_id,occurred_at,amount\no1,c1,2024-02-01,5,6\n", "line 2"),
        ("orders.csv", "order_id,customer_id,occurred_at,amount,category\no1,c1,2024-02-01,5,Öl\n".encode("latin-1"), "line 2"),
        ("orders.csv", "order_id,customer_id\n".encode("utf-16"), "codec can't decode"),
        ("orders.csv.gz", gzip.compress(b"order_id,customer_id,occurred_at,amount\no1,c1,2024-02-01,5\n")[:-9], "orders.csv.gz"),
        ("orders.csv.gz", b"order_id,customer_id\n", "Not a gzipped file"),
        ("orders.parquet", b"PAR1 and then nothing", "magic bytes"),
        ("orders.xlsx", b"PK\x03\x04 and then nothing", "zip"),
    ],
    ids=[
        "empty",
        "no header",
        "cut line",
        "cut quote",
        "too many values",
        "latin-1",
        "utf-16",
        "cut gz",
        "no gz",
        "parquet",
        "xlsx",
    ],
)
def test_a_file_that_is_not_whole_is_refused_by_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(TableError) as caught:
        run(export(tmp_path, {name: content}))
    assert name in caught.value.where
    assert said in caught.value.received
    assert "export it again" in caught.value.repair


def test_a_parquet_file_cut_in_half_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"orders\.parquet"):
        run(export(tmp_path, {"orders.parquet": _cut_parquet(tmp_path / "whole.parquet")}))


def test_a_file_that_may_have_been_cut_within_its_last_value_is_noted(tmp_path: Path) -> None:
    catalog = run(export(tmp_path, {"customers.csv": CUSTOMERS.rstrip()}))
    assert [note for note in catalog.notes if "customers.csv ends without a line break" in note]


def test_a_column_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="created_at more than once"):
        run(export(tmp_path, {"customers.csv": "customer_id,created_at,created_at\nc1,2024-01-01,2024-01-01\n"}))


def test_two_files_with_one_stem_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"customers\.csv and customers\.csv\.gz"):
        run(export(tmp_path, {"customers.csv.gz": gzip.compress(CUSTOMERS.encode())}))


def test_no_folder_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such folder"):
        Export.open(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("nothing to read here")
    with pytest.raises(TableError, match="received: none"):
        Export.open(tmp_path)
