"""The one door to MLflow: runs, versions, the champion and its history.

An experiment and a registered model carry the name of their propensity; each version keeps its report beside its model. The
alias `champion` names the version that serves, `challenger` the newest one that waits.
"""

from training.registry.door import store_uri
from training.registry.event import CONTRACT_GATE, Entry, Event, Evidence, History, Judged, Served, Signature, judged, words
from training.registry.promotion import LONGEST_REASON, Check, finish, history, promote, rollback
from training.registry.pyfunc import Pyfunc, _load_pyfunc
from training.registry.record import REPORT_CARD, REPORT_FOLDER, REPORT_HTML, VERSION_MARK, Child, Record
from training.registry.run import REQUIREMENTS, register
from training.registry.version import (
    Named,
    Registered,
    Standing,
    card,
    champion,
    champion_version,
    figures,
    incomplete,
    load,
    named,
    newest_version,
    report,
    standing,
)

__all__ = [
    "CONTRACT_GATE",
    "LONGEST_REASON",
    "REPORT_CARD",
    "REPORT_FOLDER",
    "REPORT_HTML",
    "REQUIREMENTS",
    "VERSION_MARK",
    "Check",
    "Child",
    "Entry",
    "Event",
    "Evidence",
    "History",
    "Judged",
    "Named",
    "Pyfunc",
    "Record",
    "Registered",
    "Served",
    "Signature",
    "Standing",
    "_load_pyfunc",
    "card",
    "champion",
    "champion_version",
    "figures",
    "finish",
    "history",
    "incomplete",
    "judged",
    "load",
    "named",
    "newest_version",
    "promote",
    "register",
    "report",
    "rollback",
    "standing",
    "store_uri",
    "words",
]
