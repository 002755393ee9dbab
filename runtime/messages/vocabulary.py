"""Vocabularies of the wire: closed for who writes, open for who reads.

A field `Open[Reason]` takes a `Reason` from our own code, and nothing else: another text is an
error of types, and of validation. Read from JSON it takes any code; one that this version does
not know is an `OtherCode`, kept and passed on as it was said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field
from pydantic_core import core_schema

if TYPE_CHECKING:
    from enum import StrEnum

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

CODE_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
"""Of every code on the wire, now and later: 1 to 64 characters, no space."""
OTHER_CODE: dict[str, str] = {
    "type": "string",
    "pattern": CODE_PATTERN,
    "description": "another code: a later minor version may add some",
}


def open_keys(vocabulary: type[StrEnum]) -> dict[str, Any]:
    """`json_schema_extra` of a map whose keys are codes: pydantic leaves a union's keys out."""
    known = {"type": "string", "enum": [code.value for code in vocabulary]}
    return {"propertyNames": {"anyOf": [known, OTHER_CODE]}}


class OtherCode(str):
    """A code that a newer speaker said and this version does not know. Made by reading alone."""

    __slots__ = ()

    @property
    def value(self) -> str:
        """The code, as a member of the vocabulary gives it."""
        return str(self)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: type, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """From JSON any code; from Python only what was read before."""
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(
                cls, core_schema.str_schema(pattern=CODE_PATTERN)
            ),
            python_schema=core_schema.is_instance_schema(cls),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The published form of it."""
        said: dict[str, Any] = dict(OTHER_CODE)
        return said


V = TypeVar("V")
Open = Annotated[V | OtherCode, Field(union_mode="left_to_right")]
"""A code of the vocabulary V, or one that a newer speaker said; what is known is never "other"."""
