"""Serializers that describe the responses of the endpoints in the OpenAPI schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from ..types import MODEL_SOURCE, POSTED_SOURCE
from .schema import field_schema

if TYPE_CHECKING:
    Base = serializers.Serializer[Any]
else:
    Base = serializers.Serializer


class EndpointSerializer(Base):
    """One endpoint. Its URL may contain a placeholder, as in `products/{product_id}`."""

    method = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField()


class EndpointsSerializer(Base):
    """The list of all endpoints."""

    endpoints = EndpointSerializer(many=True)


class IndexedSerializer(Base):
    """Says that a posted product was indexed and is searchable now."""

    status = serializers.CharField(help_text="success")
    message = serializers.CharField()
    embedding_dimension = serializers.IntegerField()


JOB_STATES = "queued, indexing, indexed, failed or removed"
"""A help text instead of `choices`: drf-spectacular's enum might have the same name as one of the shop."""


class QueuedSerializer(Base):
    """Says that a posted product was saved and will be indexed."""

    status = serializers.CharField(help_text=JOB_STATES)
    message = serializers.CharField()
    product_id = serializers.CharField()
    job_id = serializers.CharField()
    status_url = serializers.URLField()


class JobSerializer(Base):
    """The state of one requested indexing of a product (not of an RQ job)."""

    job_id = serializers.CharField()
    product_id = serializers.CharField()
    status = serializers.CharField(help_text=JOB_STATES)
    error = serializers.CharField(allow_blank=True)
    revision = serializers.IntegerField()
    indexed_revision = serializers.IntegerField()
    attempts = serializers.IntegerField()


class HitSerializer(Base):
    """One product that a search found."""

    product_id = serializers.CharField()
    score = serializers.FloatField()
    basis = serializers.CharField(help_text="Why it was found: exact, words or meaning")
    relevance = serializers.FloatField(
        min_value=0, max_value=1, help_text="Comparable within one search only."
    )
    source = serializers.CharField(help_text=f"{MODEL_SOURCE} or {POSTED_SOURCE}")  # type: ignore[assignment]
    payload = serializers.DictField()


@field_schema({"nullable": True, "oneOf": [{"type": "number"}, {"type": "string", "format": "date"}]})
class BoundField(serializers.JSONField):
    """The start or end of a range of numbers, or of a period."""


@field_schema({"nullable": True, "oneOf": [{"type": "number"}, {"type": "string", "format": "date-time"}]})
class ExtremeField(serializers.JSONField):
    """The lowest or highest value of a filter."""


@field_schema({"type": "array", "items": {"$ref": "#/components/schemas/ClipSearchFacetValue"}})
class ChildrenField(serializers.ListField):
    """Values of a facet that are below another one."""


class FacetValueSerializer(Base):
    """One value of a facet, and how many of the products that were found have it."""

    value = serializers.JSONField(help_text="What to filter by. Of a range or period, its start.")
    label = serializers.CharField()  # type: ignore[assignment]
    count = serializers.IntegerField(min_value=0)
    chosen = serializers.BooleanField(help_text="Whether the search is filtered by it.")
    start = BoundField(help_text="Filter by __gte, if it is not null.")
    end = BoundField(help_text="Filter by __lt, if it is not null.")
    children = ChildrenField(help_text="The values below this one in a tree, each counted in it too.")


class FacetStatsSerializer(Base):
    """What is known of a facet as a whole."""

    minimum = ExtremeField(help_text="The lowest number or date.")
    maximum = ExtremeField(help_text="The highest number or date.")
    exact = serializers.BooleanField(help_text="False if the counts are estimated.")


class ResultsSerializer(Base):
    """One page of search results."""

    count = serializers.IntegerField(min_value=0)
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    corrected = serializers.CharField(allow_blank=True, help_text="The query, if its spelling was corrected.")
    dropped = serializers.ListField(
        child=serializers.CharField(), help_text="The words that no product has, and that were left out."
    )
    facets = serializers.DictField(child=FacetValueSerializer(many=True))
    facet_stats = serializers.DictField(child=FacetStatsSerializer())
    results = HitSerializer(many=True)
    closest = HitSerializer(
        many=True, help_text="If nothing was found: the products that are nearest in meaning, at most 12."
    )


class SuggestedProductSerializer(Base):
    """One product that is suggested."""

    product_id = serializers.CharField()
    name = serializers.CharField()
    url = serializers.CharField(allow_blank=True, help_text="What `get_absolute_url()` of its row returns.")


class SuggestedCategorySerializer(Base):
    """One value of a keyword filter that is suggested."""

    filter = serializers.CharField()
    value = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    count = serializers.IntegerField()


class SuggestionsSerializer(Base):
    """What to suggest while a shopper types."""

    queries = serializers.ListField(child=serializers.CharField())
    products = SuggestedProductSerializer(many=True)
    categories = SuggestedCategorySerializer(many=True)


class HealthSerializer(Base):
    """Says whether a server can answer searches."""

    status = serializers.CharField(help_text="ok or unavailable")
    problem = serializers.CharField(allow_blank=True, help_text="database or store")


class FindingSerializer(Base):
    """One thing that is wrong, or worth knowing, and what to do."""

    code = serializers.CharField()
    message = serializers.CharField()
    document = serializers.CharField(allow_blank=True)


class StatusSerializer(Base):
    """What `clip_status --json` prints. docs/reference/clip_status.schema.json describes all of it."""

    ok = serializers.BooleanField()
    version = serializers.CharField()
    checked_at = serializers.DateTimeField()
    installation = serializers.CharField(allow_blank=True)
    model = serializers.DictField()
    store = serializers.DictField()
    queue = serializers.DictField(allow_null=True)
    documents = serializers.ListField(child=serializers.DictField())
    leftovers = serializers.ListField(child=serializers.DictField(), allow_null=True)
    problems = FindingSerializer(many=True)
    notes = FindingSerializer(many=True)
