"""Whether a workspace can still give a model what its contract asks for: in the batch, online, and in a request."""

from __future__ import annotations

from features.catalog import Catalog
from features.errors import GateError
from features.settings import Workspace
from features.views import feature_map, views
from training import registry
from training.gates import Gate
from training.model import Model

SHOWN = 5


def compatible(workspace: Workspace, model: Model) -> Gate:
    """Whether what the contract, its `eligible` and its `[value]` ask for are features of the workspace, of the same type."""
    declared = feature_map(views(workspace, Catalog.load(workspace)), model.propensity.entity)
    lost = [
        f"{column.name} ({'gone' if column.name not in declared else f'now a {declared[column.name].dtype}'})"
        for column in model.contract.features
        if column.name not in declared or declared[column.name].dtype != column.dtype
    ]
    value = model.propensity.value.columns if model.propensity.value else ()
    others = {*(condition.column for condition in model.propensity.conditions), *value}
    lost += [f"{column} (gone)" for column in sorted(others - set(declared))]
    if not lost:
        return Gate(
            "contract", True, f"The workspace gives all {len(model.columns)} features of the contract, of the same types."
        )
    more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
    return Gate("contract", False, f"The workspace no longer gives what the contract asks for: {', '.join(lost[:SHOWN])}{more}.")


def require_compatible(workspace: Workspace, model: Model, version: str) -> None:
    """Refuse a version that the workspace cannot feed any more.

    Raises:
        GateError: a feature is gone or of another type; each is named.
    """
    gate = compatible(workspace, model)
    if not gate.passed:
        raise GateError(
            f"{model.propensity.name} version {version}",
            expected="every feature of its contract in this workspace",
            received=gate.sentence,
            repair="restore the table or the declaration, or train again without it",
        )


def contract_check(workspace: Workspace, name: str, forced: bool) -> registry.Check:
    """The gate that can only be judged when a version comes to serve: whether this release reads it and the workspace feeds it.

    What it returns raises GateError, as `require_compatible`, unless somebody gave a reason to pass over it.
    """

    def check(version: str) -> registry.Judged:
        model = registry.load(workspace, name, version).model
        if not forced:
            require_compatible(workspace, model, version)
        gate = compatible(workspace, model)
        return registry.judged(registry.CONTRACT_GATE, gate.passed, gate.sentence)

    return check
