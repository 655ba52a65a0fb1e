"""The answers of the endpoints, for the schema. Tests compare the answers with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from ..searching import DEPTH
from ..types import MODEL_SOURCE, POSTED_SOURCE

if TYPE_CHECKING:
    Base = serializers.Serializer[Any]
else:
    Base = serializers.Serializer


class ProblemSerializer(Base):
    """An error: `detail`, or a list of messages under the name of each invalid field."""

    detail = serializers.JSONField(required=False)


class EndpointSerializer(Base):
    """One endpoint. Its address has a name in braces for what varies."""

    method = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField()


class EndpointsSerializer(Base):
    """All endpoints."""

    endpoints = EndpointSerializer(many=True)


class IndexedSerializer(Base):
    """A product that is searchable now."""

    status = serializers.CharField(help_text="success")
    message = serializers.CharField()
    embedding_dimension = serializers.IntegerField()


JOB_STATES = "queued, indexing, indexed, failed or removed"
"""No enumeration: its name would collide with those of the host's own fields of that name."""


class QueuedSerializer(Base):
    """A product that is saved and will be indexed."""

    status = serializers.CharField(help_text=JOB_STATES)
    message = serializers.CharField()
    product_id = serializers.CharField()
    job_id = serializers.CharField()
    status_url = serializers.URLField()


class JobSerializer(Base):
    """The state of an indexing job."""

    job_id = serializers.CharField()
    product_id = serializers.CharField()
    status = serializers.CharField(help_text=JOB_STATES)
    error = serializers.CharField(allow_blank=True)
    revision = serializers.IntegerField()
    indexed_revision = serializers.IntegerField()
    attempts = serializers.IntegerField()


class HitSerializer(Base):
    """One product of the results."""

    product_id = serializers.CharField()
    score = serializers.FloatField()
    source = serializers.CharField(help_text=f"{MODEL_SOURCE} or {POSTED_SOURCE}")  # type: ignore[assignment]
    payload = serializers.DictField()


class ResultsSerializer(Base):
    """A page of results."""

    count = serializers.IntegerField(min_value=0, max_value=DEPTH)
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    facets = serializers.DictField(child=serializers.DictField(child=serializers.IntegerField()))
    results = HitSerializer(many=True)
