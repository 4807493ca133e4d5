"""Waivers: findings that somebody lets pass, by name and with a reason, in the propensity file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from features.errors import nearest
from training.leakage.finding import CHECKS, Finding


def waived(findings: Sequence[Finding], waivers: Mapping[str, str], file: str) -> tuple[Finding, ...]:
    """The findings, those with a waiver marked by its reason; and a warning for each waiver that waives nothing.

    Args:
        findings: what was found.
        waivers: `check:place` to the reason.
        file: the propensity's file, for the repair.
    """
    keys = {finding.key for finding in findings}
    marked = [replace(finding, waived=waivers.get(finding.key, "")) for finding in findings]
    return (*marked, *(_unused(key, sorted(keys), file) for key in waivers if key not in keys))


def _unused(key: str, keys: Sequence[str], file: str) -> Finding:
    check, near = key.partition(":")[0], nearest(key, keys, cutoff=0.8)
    known = "nothing of that name was found" if check in CHECKS else f"there is no check {check!r}: {', '.join(CHECKS)}"
    repair = f"{file}: write `{near}`, or remove the line" if near else f"{file}: remove the line from [waivers]"
    return Finding("waiver", "warning", key, f"the waiver `{key}` waives nothing: {known}", repair)
