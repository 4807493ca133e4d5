"""Why a whole webhook call is refused; what is wrong with one of its records or fields is a flaw, and refuses nothing else.

CallError
└── Refusal            the call is not taken; `status` is the answer's HTTP status
    ├── Unsigned       it carries no signature, or one that is wrong or too old            401
    └── Unreadable     its body is not what the shape says                                 400
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

from features.errors import CallError


class Refusal(CallError):
    """The root; only its two kinds are raised."""

    status: ClassVar[HTTPStatus]


class Unsigned(Refusal):
    status = HTTPStatus.UNAUTHORIZED


class Unreadable(Refusal):
    status = HTTPStatus.BAD_REQUEST
