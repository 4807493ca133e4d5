"""`foresell shadow` tells how far challenger and champion are apart, on the terminal, as JSON and on a page."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import timedelta

import numpy as np
import pytest
from click.testing import CliRunner, Result

from features.settings import SETTINGS_FILE, Workspace
from foresell import main
from serving.ledger import Compared, Ledger
from serving.shadow_page import MOST_DOTS
from tests.serving.shop import NOW


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": "200"})


def keep(workspace: Workspace, number: int) -> None:
    """Comparisons of the champion with itself, a little beside it; one for each hour."""
    random = np.random.default_rng(number)
    old = random.beta(2, 5, number)
    new = np.clip(old + random.normal(0, 0.1, number), 0.01, 0.99)
    rows = [
        Compared(NOW + timedelta(hours=i), "churn", f"C<{i}>", "1", one, "1", two)
        for i, (one, two) in enumerate(zip(old.tolist(), new.tolist(), strict=True))
    ]
    with closing(Ledger.open(workspace)) as ledger:
        ledger.keep_shadow(rows)


def test_it_says_what_to_do_when_nothing_was_compared(own: Workspace) -> None:
    asked = ["shadow", "churn", "--workspace", str(own.root)]
    result = invoke(*asked)
    assert result.exit_code == 2 and '[serving] shadow = ["churn"]' in result.stderr
    with (own.root / SETTINGS_FILE).open("a", encoding="utf-8") as file:
        file.write('[serving]\nshadow = ["churn"]\n')
    assert "foresell train" in invoke(*asked).stderr and not (own.reports / "churn").exists()
    assert invoke("shadow", "chrun", "--workspace", str(own.root)).exit_code == 2


@pytest.mark.parametrize("number", [400, MOST_DOTS + 1])
def test_figures_and_a_page_that_is_complete_in_itself(own: Workspace, number: int) -> None:
    keep(own, number)
    result = invoke("shadow", "churn", "--no-open", "--workspace", str(own.root))
    assert result.exit_code == 0, result.stderr
    assert "rank correlation" in result.stdout and "PSI" in result.stdout and "would change grade" in result.stdout
    page = (own.reports / "churn" / "shadow.html").read_text(encoding="utf-8")
    assert str(own.reports / "churn" / "shadow.html") in result.stderr.replace("\n", "")
    assert (
        page.count("<svg") == 1
        and "--accent" in page
        and "Grades" in page
        and "C&lt;" not in page
        and not re.search(r"C<\d", page)
    )
    assert not re.search(r"""(src|href)=["']http|<script|@import""", page)


def test_json_is_one_document_and_since_leaves_out_what_was_before(own: Workspace) -> None:
    keep(own, 300)
    asked = ["shadow", "churn", "--json", "--workspace", str(own.root)]
    whole = json.loads(invoke(*asked).stdout)
    assert (whole["entities"], whole["champion"], whole["challenger"], whole["is_enough"]) == (300, "1", "1", True)
    assert sum(sum(row.values()) for row in whole["grades"].values()) == 300
    later = json.loads(invoke(*asked, "--since", f"{NOW + timedelta(hours=200):%Y-%m-%dT%H:%M}").stdout)
    assert later["entities"] == 100 and not later["is_enough"] and "too few to tell" in later["sentences"][0]
    assert invoke(*asked, "--since", "2030-01-01").exit_code == 2


def test_the_page_goes_where_it_was_asked_for(own: Workspace) -> None:
    keep(own, 3)
    page = own.root / "pages" / "beside.html"
    assert invoke("shadow", "churn", "--html", str(page), "--no-open", "--workspace", str(own.root)).exit_code == 0
    assert "Too little" in page.read_text(encoding="utf-8") and not (own.reports / "churn").exists()
