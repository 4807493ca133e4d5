"""The one door to Great Expectations: whether the ingested tables may be used, and the record of it.

The rules of `features.rule` become one GX suite per table, DuckDB measures what GX's expectations look at (`features.measure`),
GX judges those measurements and keeps suites, results and data docs in a file context under `data/quality/gx`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from features import data_docs
from features.catalog import Catalog
from features.console import silence_telemetry
from features.database import connect, quote
from features.errors import TableError
from features.measure import EXAMPLES, Fact, holds, measure
from features.rule import Rule
from features.ruleset import rules
from features.settings import Workspace
from features.tables import TABLES
from features.usability import Finding, Usability

if TYPE_CHECKING:
    from great_expectations.core.expectation_suite import ExpectationSuite
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine
    from great_expectations.expectations.expectation import Expectation


@dataclass(frozen=True)
class Checked:
    """One table with its rules and what was measured for each."""

    table: str
    rules: tuple[Rule, ...]
    facts: tuple[Fact, ...]


def check(workspace: Workspace, as_of: datetime) -> Usability:
    """Check every ingested table; write `data/quality/usability.json`, GX's suites and results, and the data docs.

    Args:
        as_of: the instant up to which the data are known: later dates are faults, freshness is measured from it.

    Raises:
        TableError: nothing has been ingested, or a table cannot be read.
    """
    catalog = Catalog.load(workspace)
    checked = _examine(workspace, catalog, as_of)
    found = _usability(catalog, checked, as_of)
    pages = _document(workspace, catalog.version, checked, as_of)
    usability = replace(found, docs=str(data_docs.write(found, workspace.quality / _DOCS, pages)))
    usability.save(workspace)
    return usability


def require(workspace: Workspace) -> None:
    """Refuse tables with errors; what training and scoring call first.

    The last check of the current catalog counts: of its tables, its attributes, its "now" and the row counts it compares with.
    If there was none the tables are measured now, without GX's record.

    Raises:
        QualityError: the current tables hold errors.
        TableError: nothing has been ingested, or a table cannot be read.
    """
    catalog = Catalog.load(workspace)
    usability = Usability.last(workspace)
    if usability is None or (usability.catalog, usability.as_of) != (catalog.digest, catalog.now.isoformat()):
        usability = _usability(catalog, _examine(workspace, catalog, catalog.now), catalog.now)
        usability.save(workspace)
    if not usability.usable:
        raise usability.refuse(workspace)


def _examine(workspace: Workspace, catalog: Catalog, as_of: datetime) -> list[Checked]:
    paths = {name: catalog.path(workspace, name) for name in catalog.tables}
    with connect(workspace) as connection:
        for name, path in paths.items():
            _open(connection, path, name)
        made = {name: rules(TABLES[name], catalog, as_of) for name in paths}
        return [Checked(name, made[name], _measured(connection, path, made[name])) for name, path in paths.items()]


def _open(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    try:
        connection.execute(f"create view {name} as select * from read_parquet('{quote(str(path))}')")
    except duckdb.Error as problem:
        raise _unreadable(path, name, problem) from None


def _measured(connection: duckdb.DuckDBPyConnection, path: Path, made: Sequence[Rule]) -> tuple[Fact, ...]:
    try:
        return tuple(measure(connection, made))
    except duckdb.Error as problem:
        raise _unreadable(path, made[0].table, problem) from None


def _unreadable(path: Path, name: str, problem: duckdb.Error) -> TableError:
    return TableError(
        f"table {name}, file {path}",
        expected="the Parquet file that the last ingest wrote",
        received=str(problem).splitlines()[0],
        repair="ingest again; the file was changed or damaged since",
    )


def _usability(catalog: Catalog, checked: Sequence[Checked], as_of: datetime) -> Usability:
    broken = [pair for one in checked for pair in zip(one.rules, one.facts, strict=True) if not holds(*pair)]
    findings = [Finding.of(rule, fact) for rule, fact in broken]
    errors = tuple(finding for finding in findings if finding.severity == "error")
    told = {error.place for error in errors}
    warnings = tuple(finding for finding in findings if finding.severity == "warning" and finding.place not in told)
    rows = {one.table: one.facts[0].rows for one in checked}
    return Usability(catalog.version, catalog.digest, as_of.isoformat(), rows, errors, warnings)


def _document(workspace: Workspace, version: str, checked: Sequence[Checked], as_of: datetime) -> dict[str, Path]:
    """Keep suites and results in GX's file context, render them, and return the page of each table's results."""
    silence_telemetry()
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier, ValidationResultIdentifier

    shutil.rmtree(workspace.quality / _DOCS, ignore_errors=True)  # GX keeps the pages of every check it ever made
    mark = _mended(workspace.quality)
    context = gx.get_context(mode="file", project_root_dir=workspace.quality)
    context.enable_analytics(False)
    context.update_data_docs_site("local_site", _SITE)
    pages: list[Any] = []
    for one in checked:
        name = ExpectationSuiteIdentifier(one.table)
        key = ValidationResultIdentifier(name, RunIdentifier(version, as_of), one.table)
        kept = context.suites.add_or_update(suite(one.rules))
        judged = verdict(kept, one.rules, one.facts, _origin(one.table, key.run_id))
        context.validation_results_store.store_validation_results(judged, key, name)
        pages += [name, key]
    context.build_data_docs(resource_identifiers=pages, build_index=False)
    mark.unlink()
    folder = workspace.quality / _DOCS / "validations"
    return {
        one.table: folder.joinpath(*key.to_tuple()).with_suffix(".html") for one, key in zip(checked, pages[1::2], strict=True)
    }


def _mended(quality: Path) -> Path:
    """A mark that stands while GX writes, which it does not do atomically; what a broken-off check left half written goes.

    GX would otherwise fail on it for ever: on an empty suite as on a configuration that was cut off.
    """
    mark, folder = quality / ".writing", quality / "gx"
    if mark.is_file():
        (folder / "great_expectations.yml").unlink(missing_ok=True)  # made anew, always the same
        for path in folder.rglob("*.json"):
            if not _is_whole(path):
                path.unlink()
    quality.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return mark


def _is_whole(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        return False


def _origin(table: str, run: RunIdentifier) -> dict[str, Any]:
    """What GX's pages say about where a result comes from."""
    return {"run_id": run.to_json_dict(), "active_batch_definition": {"data_asset_name": table}}


def suite(rules: Sequence[Rule]) -> ExpectationSuite:
    """The rules of one table as a GX suite of standard expectations, in their order."""
    from great_expectations.core.expectation_suite import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity

    severities = {"error": FailureSeverity.CRITICAL, "warning": FailureSeverity.WARNING}
    expectations = [
        ExpectationConfiguration(
            type=rule.expectation, kwargs=dict(rule.arguments), severity=severities[rule.severity],
            description=rule.holds, notes=[f"It costs: {rule.cost}", f"To mend: {rule.repair}"],
        )
        for rule in rules
    ]  # fmt: skip
    return ExpectationSuite(rules[0].table, expectations)


def verdict(
    suite: ExpectationSuite, rules: Sequence[Rule], facts: Sequence[Fact], meta: dict[str, Any]
) -> ExpectationSuiteValidationResult:
    """GX's judgement of what DuckDB measured: every expectation of the suite validates the metrics it asks for."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine

    engine = SqlAlchemyExecutionEngine(connection_string="sqlite://")  # never asked: it says that types have SQL's names
    results = [
        _judge(expectation, rule, fact, engine) for expectation, rule, fact in zip(suite.expectations, rules, facts, strict=True)
    ]
    engine.close()
    successes = sum(bool(result.success) for result in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": successes,
        "unsuccessful_expectations": len(results) - successes,
        "success_percent": 100 * successes / len(results),
    }
    return ExpectationSuiteValidationResult(successes == len(results), results, suite.name, statistics=statistics, meta=meta)


def _judge(expectation: Expectation, rule: Rule, fact: Fact, engine: SqlAlchemyExecutionEngine) -> ExpectationValidationResult:
    asked = {
        "result_format": {
            "result_format": "SUMMARY",
            "partial_unexpected_count": EXAMPLES,
            "unexpected_index_column_names": list(TABLES[rule.table].key),
        }
    }
    return expectation.metrics_validate(_Measured(_metrics(rule, fact)), asked, engine)


class _Measured(dict[str, Any]):
    """Values by the name of a metric. GX asks by an id that begins with the name; making all ids first would double its work."""

    def __contains__(self, identity: object) -> bool:
        return isinstance(identity, tuple) and super().__contains__(self._known(identity[0]))

    def __getitem__(self, identity: Any) -> Any:
        return super().__getitem__(self._known(identity[0]))

    def _known(self, name: str) -> str:
        """Of a name with a prefix per expectation the last part."""
        return name if super().__contains__(name) else name.rpartition(".")[2]


def _metrics(rule: Rule, fact: Fact) -> dict[str, Any]:
    """A fact under the names of the GX metrics it stands for; of names with a prefix per expectation, the last part."""
    import sqlalchemy

    demands_a_value = rule.expectation == "expect_column_values_to_not_be_null"
    column_type = getattr(sqlalchemy, str(fact.observed), sqlalchemy.types.NullType)
    return {
        "table.row_count": fact.rows,
        "table.columns": [rule.column] if fact.observed else [],
        "table.column_types": [{"name": rule.column, "type": column_type()}],
        "column_values.nonnull.unexpected_count": fact.offending if demands_a_value else fact.rows - fact.considered,
        "filtered_row_count": fact.considered,
        "unexpected_count": fact.offending,
        "unexpected_values": [_value(rule, example) for example in fact.examples],
        "unexpected_index_list": list(fact.examples),
        "unexpected_index_query": None,
        "unexpected_rows_query.row_count": fact.offending,
        "unexpected_rows_query.table": list(fact.examples),
        "column.max": fact.observed,
        "column.distinct_values.count": fact.observed,
    }


def _value(rule: Rule, example: dict[str, Any]) -> Any:
    """What GX shows of an offending row: its value, a pair of values, or the values of a key."""
    if "column" in rule.arguments:
        return example[rule.arguments["column"]]
    if "column_A" in rule.arguments:
        return example[rule.arguments["column_A"]], example[rule.arguments["column_B"]]
    return example


_DOCS = "docs"
_SITE: Any = {
    "class_name": "SiteBuilder",
    "show_how_to_buttons": False,
    "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": f"../{_DOCS}/"},
}
