"""A flaw: one thing that is wrong with what somebody sent, as it is told to them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel

from features.errors import ForesellError


def _sayable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()  # half a character can be received, but not sent back


Text = Annotated[str, AfterValidator(_sayable)]


class Flaw(BaseModel):
    """One thing that is wrong.

    Attributes:
        where: the part of the request, or of the service.
        expected: what would be right.
        received: what is there instead.
        repair: how to mend it.
    """

    where: Text
    expected: Text
    received: Text
    repair: Text

    @classmethod
    def of(cls, error: ForesellError) -> Flaw:
        """What an error of ours says."""
        return cls(where=error.where, expected=error.expected, received=error.received, repair=error.repair)
