"""What names a person: columns that may never become a feature, recognised by their names as CRMs spell them.

`MobilePhone`, `Person_Email__pc` and `last_name_2` are read as their words: mobile phone, person email pc, last name 2. A name
counts when its last words do, so that `phone_service` and `email_opt_in`, which are about the account, stay possible.
"""

from __future__ import annotations

import re

from features.errors import WorkspaceError

_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")
_WHOSE = (
    "first|last|full|middle|maiden|family|given|nick|user|birth|legal|spouse|customer|client|contact|person|lead|company|account"
    "|owner"
)
_PERSONAL = re.compile(
    rf"^name(_?\d+)?$|(^|_)(({_WHOSE})_?name|(sur|fore)name|contact_?person|iban|ssn|passport|e_?mail"
    r"|(tele|mobile|cell|home|work)?_?phone|tel|mobile|fax|street|address|house_?(number|no)|(post|postal|zip)_?code|zip)"
    r"(_?(number|no|address|line|\d+)|_p?c)*$"
)


def is_personal(name: str) -> bool:
    """Whether a column of this name reads like a name, an e-mail, a phone number, an address or an account number."""
    return _PERSONAL.search(_WORD_ENDS.sub("_", name).strip("_").lower()) is not None


def refuse_personal(where: str, name: str) -> None:
    """Raise a WorkspaceError if a declared column names a person."""
    if is_personal(name):
        raise WorkspaceError(
            f"{where}, column `{name}`",
            expected="something about the account that may become a feature",
            received=f"`{name}`, which reads like a name, an e-mail, a phone number, an address or an account number",
            repair="leave it out: what identifies a person is never a feature",
        )
