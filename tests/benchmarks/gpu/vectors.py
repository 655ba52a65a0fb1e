"""Whether the indexed vectors are those of the plain model."""

from __future__ import annotations

from collections.abc import Iterator

from ..table import Row
from .run import Run, reindex, stocked

COMPARED = 64


def equality(run: Run) -> Iterator[Row]:
    """Compare indexed vectors with those of sentence-transformers in float32, of the same pixels."""
    import numpy as np
    from sentence_transformers import SentenceTransformer

    from clip_search import images
    from clip_search.documents.registry import registry
    from clip_search.encoders import get_encoder
    from clip_search.indexing.targets import get_target
    from clip_search.types import IMAGE, TEXT

    from ..bulk import contents

    stocked(COMPARED)
    reindex()
    document = registry.get("product")
    assert document
    target = get_target(document)
    ids = [document.point_id(str(row.pk)) for row in document.queryset().order_by("pk")]
    points = target.store.get(target.collections[0].name, ids, vectors=True)
    texts, paths = contents()
    size = get_encoder().image_size
    inputs = {
        TEXT: [{"text": text} for text in texts],
        IMAGE: [images.picture(images.shrink(path.read_bytes(), size)) for path in paths],
    }
    plain = SentenceTransformer(str(run.bench.model), device="cpu").float()
    for kind, given in inputs.items():
        exact = plain.encode(given, normalize_embeddings=True, show_progress_bar=False)
        indexed = np.stack([np.ravel(points[id_].vectors[kind]) for id_ in ids])
        lowest = float((indexed * exact).sum(axis=1).min())
        yield Row(
            figure=f"{COMPARED} {kind} vectors against sentence-transformers in float32: lowest cosine",
            value=f"{lowest:.6f}",
            baseline="1",
            ratio=lowest,
            floor=0.999,
        )
