"""Stricter versions of DRF's parsers: they answer 400 to invalid UTF-8 and deep nesting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.core.files.uploadhandler import FileUploadHandler
from django.http import QueryDict
from rest_framework import parsers
from rest_framework.exceptions import ParseError, ValidationError

NOT_UTF8 = "This is not valid UTF-8. Encode the request as UTF-8."
LOSSLESS = "latin-1"
"""Forms are first decoded as Latin-1, which keeps every byte: Django replaces bytes that are not UTF-8."""

Context = Mapping[str, Any] | None


class JSONParser(parsers.JSONParser):
    """Parses JSON. Answers 400 if it is nested too deep for Python's own parser."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Context = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("The JSON is nested too deep. Send a flatter object.") from error


class FormParser(parsers.FormParser):
    """Parses URL-encoded forms. Answers 400 if a value is not UTF-8."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Context = None) -> Any:
        return decoded(QueryDict(stream.read(), encoding=LOSSLESS))


class MultiPartParser(parsers.MultiPartParser):
    """Parses forms with files. Answers 400 if a value is not UTF-8."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Context = None) -> Any:
        context = {**(parser_context or {}), "encoding": LOSSLESS}
        try:
            parsed: Any = super().parse(stream, media_type, context)
        except BaseException:
            discard_unfinished(context["request"].upload_handlers)
            raise
        parsed.data = decoded(parsed.data)
        return parsed


def discard_unfinished(handlers: list[FileUploadHandler]) -> None:
    """Delete the temporary file of an interrupted upload. Django itself deletes those of complete uploads."""
    for handler in handlers:
        handler.upload_interrupted()


def decoded(data: QueryDict) -> QueryDict:
    """Return the form, which was decoded as Latin-1, decoded as UTF-8.

    Raises ValidationError, which names the fields that are not UTF-8.
    """
    result, faults = QueryDict(mutable=True), {}
    for key, values in data.lists():
        try:
            result.setlist(utf8(key), [utf8(value) for value in values])
        except UnicodeDecodeError:
            faults[key] = [NOT_UTF8]
    if faults:
        raise ValidationError(faults)
    return result


def utf8(text: str) -> str:
    return text.encode(LOSSLESS).decode()
