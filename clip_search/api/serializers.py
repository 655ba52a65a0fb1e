"""Serializers that validate requests. Each error names the field and the remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from django.core.exceptions import SuspiciousOperation
from django.core.files import File
from rest_framework import serializers

from .. import images
from ..conf import conf
from ..documents import ids
from ..documents.binding import BoundDocument
from ..documents.text import clean
from ..exceptions import BadImage, ProductError, UnknownFilter
from ..models.posted import filter_values
from ..searching import MOST_SUGGESTIONS, parse_facets, parse_order
from ..status import MAX_AGE
from . import metadata
from .schema import field_schema

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

    Base = serializers.Serializer[Any]
    AnyField = serializers.Field[Any, Any, Any, Any]
else:
    Base, AnyField = serializers.Serializer, serializers.Field

MAX_NAME = 1000
MAX_DESCRIPTION = 100_000
MAX_QUERY = 1000
MAX_PAGE_SIZE = 100
MAX_RANK = 10_000
"""The last rank that a page may have. The store skips the ranks before a page one by one."""
MAX_MESSAGE = 300


@field_schema({"nullable": True, "description": "Free text or JSON."})
class MetadataField(AnyField):
    """Free text or JSON. An empty text becomes None."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str):
            self._refuse(metadata.text_mistake(data))
            if len(data.encode()) > metadata.MAX_BYTES:
                self._refuse(f"The text is longer than {metadata.MAX_BYTES} bytes. Send less.")
            data = metadata.parse(data.strip())
        elif not isinstance(data, dict | list | int | float):
            self._refuse("The value is neither text nor JSON.")
        self._refuse(metadata.mistake(data))
        return None if data == "" else data

    def to_representation(self, value: Any) -> Any:
        return value

    def _refuse(self, reason: str) -> None:
        if reason:
            raise serializers.ValidationError(reason)


class ProductSerializer(Base):
    """A product to index. The context must contain its `document`."""

    product_id = serializers.CharField(
        max_length=ids.MAX_ID,
        trim_whitespace=False,
        error_messages={"max_length": "It has more than {max_length} characters. Send a shorter id."},
    )
    name = serializers.CharField(max_length=MAX_NAME)
    description = serializers.CharField(
        max_length=MAX_DESCRIPTION, required=False, allow_blank=True, allow_null=True, default=""
    )
    metadata = MetadataField(required=False, allow_null=True, default=None)

    def validate_product_id(self, value: str) -> str:
        if reason := ids.mistake(value):
            raise serializers.ValidationError(reason)
        return value

    def validate_name(self, value: str) -> str:
        if not readable(value):
            raise serializers.ValidationError("It contains HTML but no text. Send the product's name.")
        return value

    def validate_description(self, value: str | None) -> str:
        readable(value or "")
        return value or ""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for name, value in self.initial_data.items():
            if name not in self.fields and (isinstance(value, File) or (name == "image_file" and value)):
                takes_one = "image_file" in self.fields
                remedy = "Send one, as image_file." if takes_one else "Send it to index-product-with-image."
                raise serializers.ValidationError({name: [f"The file is not read here. {remedy}"]})
        return attrs

    def validate_metadata(self, value: Any) -> Any:
        document: BoundDocument = self.context["document"]
        try:
            filter_values(document, value)
        except (ProductError, OverflowError) as error:  # a date in the year 9999 may be out of range in UTC
            raise serializers.ValidationError(str(error).removeprefix("metadata: ")[:MAX_MESSAGE]) from error
        return value


@field_schema({"type": "string", "format": "binary"})
class UploadField(serializers.FileField):
    """An uploaded file. drf-spectacular would describe a plain FileField as a URL."""


class ImageSerializer(Base):
    """An uploaded image. Only its header is checked here; the pixels are decoded later."""

    image_file = UploadField(
        error_messages={
            "required": "No file was submitted. Send one as multipart/form-data.",
            "invalid": "This is not a file. Send one as multipart/form-data.",
        }
    )

    def validate_image_file(self, value: UploadedFile[Any]) -> UploadedFile[Any]:
        try:
            images.check(value.file or value)
        except BadImage as error:
            raise serializers.ValidationError(str(error)[:MAX_MESSAGE]) from error
        return value


class ProductWithImageSerializer(ImageSerializer, ProductSerializer):
    """A product to index, with its image."""


@field_schema({"type": "string"})
class NamesField(AnyField):
    """A list of names: a client joins them by commas or repeats the parameter."""

    def get_value(self, dictionary: Any) -> Any:
        """Return all values of the parameter as a list."""
        return dictionary.getlist(self.field_name) if self.field_name in dictionary else serializers.empty

    def to_internal_value(self, data: list[str]) -> list[str]:
        return list(dict.fromkeys(name for part in data for name in str(part).split(",") if name))

    def to_representation(self, value: Any) -> Any:
        return value


class PageSerializer(Base):
    """The requested page, its order and its facets. The context must contain the `document`."""

    page = serializers.IntegerField(min_value=1, default=1)
    page_size = serializers.IntegerField(min_value=1, max_value=MAX_PAGE_SIZE, default=24)
    facets = NamesField(default=list, help_text="Names of filters, joined by commas.")
    order_by = NamesField(
        default=list,
        help_text="Names of filters, joined by commas. A - before a name reverses the order; "
        "relevance is the order that a search has.",
    )
    min_score = serializers.FloatField(
        min_value=-1, max_value=1, default=None, help_text="The lowest cosine of the text or the image."
    )

    def validate_facets(self, value: list[str]) -> list[str]:
        try:
            parse_facets(self.context["document"], value, {})
        except UnknownFilter as error:
            raise serializers.ValidationError(str(error)) from error
        return value

    def validate_order_by(self, value: list[str]) -> list[str]:
        try:
            parse_order(self.context["document"], value)
        except UnknownFilter as error:
            raise serializers.ValidationError(str(error)) from error
        return value

    def validate_min_score(self, value: float | None) -> float | None:
        if value is not None and math.isnan(value):
            raise serializers.ValidationError("NaN is not a number. Send a cosine, from -1 to 1.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["page"] * attrs["page_size"] > MAX_RANK:
            reason = f"Pages end at rank {MAX_RANK}. Filter the search, or send an earlier page."
            raise serializers.ValidationError({"page": [reason]})
        return attrs


class SearchSerializer(PageSerializer):
    """The parameters of a search by words."""

    q = serializers.CharField(max_length=MAX_QUERY)
    everything = serializers.BooleanField(
        default=None,
        allow_null=True,  # otherwise DRF reads False if the parameter is missing
        help_text="True ranks the whole shop. The default is what the document says.",
    )

    def validate_q(self, value: str) -> str:
        return valid_text(value)


class NearPhotoSerializer(PageSerializer):
    """The parameters of a search by a photo."""

    q = serializers.CharField(
        max_length=MAX_QUERY,
        allow_blank=True,
        default="",
        help_text="Words besides the photo, such as: in red",
    )

    def validate_q(self, value: str) -> str:
        return valid_text(value)


class PhotoSerializer(ImageSerializer, NearPhotoSerializer):
    """The parameters of a search by a photo, with the uploaded image."""


class SuggestSerializer(Base):
    """What a shopper has typed so far, and how many suggestions of each kind to return."""

    q = serializers.CharField(max_length=MAX_QUERY, allow_blank=True)
    limit = serializers.IntegerField(min_value=1, max_value=MOST_SUGGESTIONS, default=8)

    def validate_q(self, value: str) -> str:
        return valid_text(value)


def valid_text(value: str) -> str:
    """Return the text. Raises ValidationError if it was not sent as UTF-8."""
    if "\N{REPLACEMENT CHARACTER}" in value:
        raise serializers.ValidationError("This is not valid UTF-8. Percent-encode the UTF-8 bytes.")
    return value


class MaxAgeSerializer(Base):
    """The parameter of the status."""

    max_age = serializers.FloatField(
        min_value=0, default=MAX_AGE, help_text="How many seconds products may wait before it is a problem."
    )


def readable(value: str) -> str:
    """Return the text without HTML. Raises ValidationError if it has too many unclosed tags."""
    try:
        return clean(value)
    except SuspiciousOperation as error:
        raise serializers.ValidationError("The HTML has too many unclosed tags. Send plain text.") from error


def too_large() -> dict[str, list[str]]:
    """Return the error for a request that is larger than `MAX_IMAGE_BYTES` allows."""
    limit = conf.max_image_bytes
    message = f'The file is larger than CLIP_SEARCH["MAX_IMAGE_BYTES"], {limit} bytes. Upload a smaller one.'
    return {"image_file": [message]}
