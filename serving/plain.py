"""A structure that is made by the thousand and becomes JSON as it is: msgspec's, because to make and to write one takes half of
what a dataclass takes. For descriptions of the API pydantic sees the dataclass of the same fields.
"""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any

from msgspec import NODEFAULT, Struct, structs


class Plain(Struct, gc=False):
    """Holds nothing that leads back to itself, so that the garbage collector need not look."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        fields = [
            (one.name, one.type) if one.default is NODEFAULT else (one.name, one.type, field(default=one.default))
            for one in structs.fields(cls)
        ]
        return handler.generate_schema(make_dataclass(cls.__name__, fields, namespace={"__doc__": cls.__doc__}))
