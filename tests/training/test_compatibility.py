"""A version that the workspace cannot feed any more does not serve."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

from features.catalog import Catalog
from features.errors import GateError
from features.settings import Attribute, Workspace
from foresell import main
from tests.training.conftest import FIRST, ME, NOW
from tests.training.test_commands import call
from tests.training.test_registry_promotion import add
from tests.worlds import make_workspace
from training import registry
from training.additive import Additive, Term
from training.compatibility import compatible, require_compatible
from training.contract import Column
from training.model import Model


@pytest.fixture
def without_orders(tmp_path) -> Workspace:
    """A workspace whose CRM has stopped delivering orders, and writes the kind of a customer as a number."""
    customers = [{"customer_id": "C1", "created_at": FIRST, "kind": 1.0}]
    attributes = {"customers": {"kind": Attribute(fixed=True, type="number")}}
    make_workspace(tmp_path / "bare", {"customers": customers}, now=NOW.date().isoformat(), attributes=attributes)
    (tmp_path / "bare" / "foresell.toml").write_text('adapter = "canonical"\n')
    return Workspace.open(tmp_path / "bare")


def _only(model: Model, column: Column) -> Model:
    """The same question, asked of one feature."""
    contract = model.contract.model_copy(update={"features": (column,)})
    return Model(
        contract, Additive(intercept=0.0, terms=(Term(feature=column.name, shape="code", weights=(0.0,), missing=0, spread=0),))
    )


def test_the_workspace_it_was_trained_in_gives_everything(trained_once):
    gate = compatible(trained_once, registry.load(trained_once, "churn", "1").model)
    assert gate.passed and "gives all" in gate.sentence


def test_a_feature_that_is_gone_or_of_another_type_is_named(trained_once, without_orders):
    model = registry.load(trained_once, "churn", "1").model
    gate = compatible(without_orders, model)
    assert not gate.passed
    assert "(gone)" in gate.sentence
    kind = next(column for column in model.contract.features if column.dtype == "category")
    assert f"{kind.name} (now a number)" in compatible(without_orders, _only(model, kind)).sentence
    with pytest.raises(GateError, match="churn version 1"):
        require_compatible(without_orders, model, "1")


def test_promote_refuses_it_unless_forced(trained):
    _lose_orders(trained)
    words = ["promote", "churn", "--workspace", str(trained.root)]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 1 and "no longer gives" in " ".join(refused.stderr.split())
    assert registry.champion_version(trained, "churn") is None
    forced = CliRunner().invoke(main, [*words, "--force", "orders come back tomorrow"])
    assert forced.exit_code == 0 and "in spite of: The workspace no longer gives" in forced.stderr
    [entry] = registry.history(trained, "churn").entries
    assert (entry.event.version, entry.event.forced) == ("1", True)
    assert "no longer gives" in entry.event.evidence.failed[0], "the history shows it"
    assert "failed: The workspace no longer gives" in call(trained, "history", "churn").stdout


def _lose_orders(workspace: Workspace) -> None:
    catalog = Catalog.load(workspace)
    replace(catalog, tables={name: table for name, table in catalog.tables.items() if name != "orders"}).save(workspace)


def _two_champions(workspace: Workspace) -> None:
    add(workspace)
    for version in ("1", "2"):
        registry.promote(workspace, "churn", ME, version)


def test_rollback_refuses_it_unless_forced_and_says_how_to_skip_it(trained):
    _two_champions(trained)
    _lose_orders(trained)
    refused = call(trained, "rollback", "churn", code=1).stderr
    assert "churn version 1, which a rollback would bring back" in refused and "no longer gives" in refused
    assert "promote churn --version N" in refused and "--force" in refused
    assert registry.champion_version(trained, "churn") == "2"
    assert "give the reason once" in call(trained, "rollback", "churn", "--force", "it returns", "--reason", "x", code=2).stderr
    assert "expected  a reason" in call(trained, "rollback", "churn", "--force", " ", code=2).stderr
    call(trained, "rollback", "churn", "--force", "it returns")
    event = registry.history(trained, "churn").last.event
    assert (event.kind, event.version, event.reason, event.forced) == ("rollback", "1", "it returns", True)


def test_a_version_of_another_format_comes_back_neither_way(trained):
    _two_champions(trained)
    for contract in sorted((trained.mlruns / "artifacts").rglob("contract.json")):
        contract.write_text(contract.read_text().replace('"format": 2', '"format": 1'))
    for words in ([], ["--force", "I insist"]):
        refused = call(trained, "rollback", "churn", *words, code=1).stderr
        assert "format" in refused and "promote churn --version N" in refused and '--force "why"' not in refused
    assert registry.champion_version(trained, "churn") == "2"
