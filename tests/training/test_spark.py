from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from features.settings import SETTINGS_FILE, Workspace
from foresell import main
from tests.cluster import SPARK
from tests.training.conftest import QUIET
from training import registry
from training.provenance import Provenance
from training.rebuild import rebuild

pytestmark = [pytest.mark.slow, pytest.mark.spark]


def test_a_version_is_trained_from_a_sample_and_rebuilt_from_the_same_one(make_shop):
    root = make_shop(customers=200).root
    with (root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
        settings.write(f"[train]\nmax_rows = 1_000\n{SPARK}")
    workspace = Workspace.open(root)
    done = CliRunner().invoke(main, ["train", "churn", "--engine", "spark", "--json", "--workspace", str(root)])
    assert done.exit_code == 0, done.output
    version = json.loads(done.stdout)["version"]
    document, _ = registry.report(workspace, "churn", version)
    kept = Provenance.model_validate(document["provenance"])
    assert kept.engine == "spark" and kept.sampling and kept.rows < kept.sampling.known
    assert kept.sampling.sentence in document["split"]["sentences"]
    again = rebuild(workspace, "churn", version, QUIET)
    assert again.equal and not again.moved
