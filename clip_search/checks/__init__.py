"""Numbered system checks, for `manage.py check`. They use no network, no CLIP model and no store.

==== =====================================================================================
E001 `CLIP_SEARCH` is not a dict
E002 a key of `CLIP_SEARCH` is unknown
E003 a key has a value of the wrong type
E004 `QDRANT` is not set
E005 `QDRANT` names neither a server nor a folder, or both
E006 `QDRANT` names a folder, and qdrant-edge-py is not installed
E007 `MODEL` or `TEXT_MODEL` names a folder that does not exist
E008 `DEVICE` or `PRECISION` is unknown
E009 `ENCODER` names no class
E010 `IMAGE_FORMATS` names a format that the installed Pillow cannot read
E011 `API_DOCUMENT` names no document
E012 a permission class cannot be imported
E013 a throttle rate cannot be read
E014 `QUEUE` is not in `RQ_QUEUES`, or its entry there is no dict
E015 `QUEUE` is set, and django_rq is not installed
E017 the address of Qdrant has no scheme, host or port that can be used
E018 `QDRANT["backend"]` names no class
E019 a class cannot be registered as a document
E020 `port` or `grpc_port` of `QDRANT` is no port
E021 `MODEL` or `TEXT_MODEL` is of a family that is not proven to give right vectors
E022 `timeout` or `search_timeout` of `QDRANT` is no number of seconds
E023 `STATUS_TOKEN` is shorter than 20 characters, or cannot be sent in a header
W001 the embedded store is used with `DEBUG = False`
W002 anybody, or anybody with an account, may write through the endpoints
W003 the endpoints are mounted, and `API_DOCUMENT` does not say which document they feed
W004 the worker class is not `EmbeddingWorker`
W005 the queue's jobs are pickled
W006 SQLite is used with a queue, but without WAL and IMMEDIATE
W007 the URL of Qdrant contains a password
W008 the path of the embedded store is relative
W009 a Qdrant server is used, and `INSTALLATION` is not set
W010 anybody may search through the endpoints, and `NUM_PROXIES` is not set
W011 no document is registered
W012 the key of Qdrant is sent without encryption
E101 a document's name is not valid
E102 `using` names no database
E103 a path names a field that its model does not have
E105 a filter's name is reserved or not valid
E106 `related` does not lead to the document's model
E107 `get_queryset()` fails, or is of another model
E108 `max_images` is less than 1
E109 `product_id()` is overridden, but `id_field` is not set
E110 `id_field` does not name a unique field
E111 an attribute has a value of the wrong type
E112 `weights` are not numbers for "text", "image" and "words"
E113 `query_prompt` does not contain `{query}`
E114 the model has a primary key of several columns
E115 `language` is unknown
E116 the type of a filter does not fit its model field
E117 `get_queryset()` is sliced, combined, or gives no rows
W101 a path crosses a relation whose changes are not noticed
W102 `image_field` does not lead to a file field
W103 a document has neither text nor image to search by
W104 the storage of the images overwrites files, and a new image is not noticed
W105 there is no stemmer for the language: words are found only as they are spelled in the texts
==== =====================================================================================
"""

from __future__ import annotations

from django.core.checks import register

from .configuration import check_settings
from .documents import check_documents
from .queue import check_queue

__all__ = ["TAG", "check_documents", "check_queue", "check_settings"]

TAG = "clip_search"

for check in (check_settings, check_queue, check_documents):
    register(check, TAG)
