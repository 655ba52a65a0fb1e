"""`ClipEncoder`: the default encoder, which uses a CLIP model through sentence-transformers.

A CLIP model has a tower for texts and a tower for images. Each is loaded when it is first used, so a process
that only searches by text does not load the vision tower, which is the larger one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from ..conf import conf
from ..exceptions import ModelUnavailable
from ..images import picture
from .base import SMALLEST_BATCH, TEXT_LIMIT
from .gpu_memory import BatchLimit, is_out_of_memory
from .inter_op import InterOpPool, keep_to_cores
from .model_files import REMEDY, Source, unavailable
from .placement import cpu_has_bfloat16, place

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

PREPROCESSING: Final = "2"
"""A version. Raise it if a change of `images.shrink()` or of this file changes the input of the model."""
WAITING: Final = "OMP_WAIT_POLICY"
"""The environment variable that says how torch's threads wait for each other. By default they wait actively:
this takes up to two thirds of the CPU time from the threads that decode images."""
PROBE_TEXTS: Final = ("a red mug", "a photo of two wooden chairs and a table in a garden")
LOWEST_COSINE: Final = 0.999
"""The lowest cosine between vectors of the accelerated and the plain model that is accepted."""


class ClipEncoder:
    """Embeds images with the CLIP model in MODEL, and texts with TEXT_MODEL, or with MODEL if it is None."""

    def __init__(self) -> None:
        os.environ.setdefault(WAITING, "PASSIVE")  # before torch is imported, which reads it
        self._model = Source("MODEL", conf.model)
        self._text_model = Source("TEXT_MODEL", conf.text_model) if conf.text_model else None
        self._device, self._precision = conf.device, conf.precision
        self._accelerates, self._batch_size = conf.accelerate, conf.batch_size
        self._lock = threading.RLock()
        self._inter_op = InterOpPool()
        self._known = threading.local()  # which of the texts that a thread embedded last fill the model

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the model's files and of `PREPROCESSING`. Raises ModelUnavailable.

        It does not depend on the precision, the device or the folder of the files.
        """
        return self._hash_files()

    @cached_property
    def dimension(self) -> int:
        """The length of every vector. Reading it loads the text tower. Raises ModelUnavailable."""
        return int(self.embed_texts([""]).shape[1])

    @cached_property
    def image_size(self) -> int:
        """The side length, in pixels, of the model's square input. Raises ModelUnavailable."""
        with unavailable(self._model):
            from transformers import AutoConfig

            vision = getattr(AutoConfig.from_pretrained(self._model.transformer), "vision_config", None)
            return int(getattr(vision, "image_size", 224))

    @property
    def batch_size(self) -> int:
        """The number of images for one call: `CLIP_SEARCH["BATCH_SIZE"]` times the batches computed at once.

        If the setting is "auto", a batch has 32 images on a CPU, where larger batches are not faster, and 128
        on CUDA, which is enough for a GPU (6,400 rows in each matrix product). It is lower once a
        batch did not fit into the memory of the GPU.
        """
        return self._limit.size * (self._inter_op.count if self._on_cpu else 1)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector for each text: a float32 array (n, dimension).

        Raises ModelUnavailable, and BackendUnavailable if the memory of the GPU does not suffice.

        Each text is passed as {"text": …}. If a plain string is the path or URL of an image,
        sentence-transformers would open or download this image.
        """
        import numpy as np

        if not len(texts):
            return self._nothing
        with self._lock:
            tower = self._text_tower

            def embed(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
                inputs = [{"text": _readable(texts[number])} for number in numbers]
                found: NDArray[np.float32] = tower.encode(
                    inputs, batch_size=len(inputs), show_progress_bar=False
                )
                return found

            # Texts of similar length are in one batch, because a batch is padded to its longest text. The
            # longest texts come first, so that all threads end at about the same time.
            order = np.argsort([-len(text) for text in texts])
            tower.preprocess.fills.clear()
            parts = self._in_batches(embed, order)
            self._known.fills = dict(tower.preprocess.fills)
        return _unit(parts[np.argsort(order)])

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether it is longer than the model reads. Raises ModelUnavailable.

        Of the texts that this thread has just embedded, only those that fill the model are tokenized again.
        """
        with self._lock:
            tower = self._text_tower
            limit, known = tower.max_seq_length, vars(self._known).pop("fills", {})
            found, unknown = dict.fromkeys(texts, False), []
            for text in found:
                # every word is at least one token
                if limit and (len(text) > TEXT_LIMIT or len(text.split()) > limit):
                    found[text] = True
                elif limit and known.get(_readable(text), True):
                    unknown.append(text)
            if unknown:
                inputs = [_readable(text) for text in unknown]
                rows = tower.tokenizer(inputs, truncation=True, max_length=limit + 1)["input_ids"]
                found |= {text: len(row) > limit for text, row in zip(unknown, rows, strict=True)}
        return [found[text] for text in texts]

    def knows(self, word: str) -> bool:
        """Return whether the word is one token of the model, so it was frequent in the model's training.

        Raises ModelUnavailable.
        """
        with self._lock:
            tokens = self._text_tower.tokenizer(_readable(word), add_special_tokens=False)["input_ids"]
        return len(tokens) == 1

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return one unit vector for each image: a float32 array (n, dimension).

        Raises ModelUnavailable, and BackendUnavailable if the memory of the GPU does not suffice.

        Each image is a uint8 array of shape (image_size, image_size, 3).
        """
        if not len(images):
            return self._nothing
        with self._lock:
            vectors = self._in_batches(self._image_tower.embed, images)
            found = vectors.shape[1]
            if self._text_model and found != self.dimension:
                raise ModelUnavailable(
                    f"{self._text_model} gives {self.dimension} dimensions, but {self._model} {found}. "
                    'Set "TEXT_MODEL" to a text tower that was trained for this "MODEL", or to None.'
                )
        return _unit(vectors)

    def warm_up(self, *, images: bool = True) -> None:
        """Load the towers and use each once. Raises ModelUnavailable."""
        import numpy as np

        self.embed_texts(["warm up"])
        if images:
            self.embed_images([np.zeros((self.image_size, self.image_size, 3), np.uint8)])

    @cached_property
    def _on_cpu(self) -> bool:
        return bool(self._placement[0].type == "cpu")

    @cached_property
    def _limit(self) -> BatchLimit:
        return BatchLimit(self._batch_size or (128 if self._placement[0].type == "cuda" else 32))

    def _in_batches(self, embed: Callable[[Any], NDArray[np.float32]], inputs: Any) -> NDArray[np.float32]:
        """Embed inputs in batches. On a CPU, several batches are computed at once.

        Each thread gets two batches of equal size, so that all threads end at about the same time, or one if
        there are few inputs. If there are very few, all threads together compute one batch after the other.
        """
        import numpy as np

        count, at_once = len(inputs), self._inter_op.count if self._on_cpu else 1
        parts = ceil(count / self._limit.size)
        rounds = min(2, count // (at_once * SMALLEST_BATCH))
        if at_once > 1 and rounds:
            parts = min(count, at_once * max(rounds, ceil(parts / at_once)))
        edges = [number * count // parts for number in range(parts + 1)]
        batches = [inputs[start:end] for start, end in pairwise(edges)]
        embed = partial(self._limit.embed, embed)
        return np.concatenate(self._inter_op.map(embed, batches) if at_once > 1 else [*map(embed, batches)])

    @property
    def _nothing(self) -> NDArray[np.float32]:
        import numpy as np

        return np.empty((0, self.dimension), np.float32)

    @cached_property
    def _placement(self) -> tuple[torch.device, torch.dtype]:
        keep_to_cores()
        return place(self._device, self._precision)

    @cached_property
    def _text_tower(self) -> Any:
        if self._text_model:
            return self._load(self._text_model, "text", needs={"text"})
        unused = ("vision_model", "visual_projection")
        return self._load(self._model, "text", needs={"text", "image"}, unused=unused)

    @cached_property
    def _image_tower(self) -> ImageTower:
        unused = ("text_model", "text_projection")
        model = self._load(self._model, "image", needs={"image"}, unused=unused)
        return ImageTower(model, takes_pixels=getattr(model, "takes_pixels", False))

    def _load(self, source: Source, kind: str, *, needs: set[str], unused: Sequence[str] = ()) -> Any:
        """Load a SentenceTransformer for texts or for images, without the parts of CLIP that are `unused`.

        Raises ModelUnavailable if this fails, or if the model lacks a modality ("text", "image") in `needs`.
        """
        if self._hash_files() != self.fingerprint:
            raise ModelUnavailable(f"The files of {source} have changed. Restart this process.")
        started = time.monotonic()
        device, dtype = self._placement
        with unavailable(source), _without_progress_bars():
            tower = _read(source, needs, unused)
            is_clip = tower[0].auto_model.config.model_type == "clip"
            if is_clip and self._accelerates:
                try:
                    tower = _accelerated(tower, kind, self.image_size, device, dtype)
                except Exception as error:  # other versions of torch or transformers may raise any exception
                    if is_out_of_memory(error):
                        raise
                    self._accelerates = False
                    logger.warning(
                        "Cannot accelerate, using the plain model=%s error=%s: %s",
                        source.name,
                        type(error).__name__,
                        error,
                    )
                    tower = _read(source, needs, unused)
            tower = tower.to(device=device, dtype=dtype).eval()  # the files may have another precision
        facts = (source.name, device, str(dtype).removeprefix("torch."), time.monotonic() - started)
        logger.info("Loaded model=%s device=%s precision=%s seconds=%.2f", *facts)
        return tower

    def _hash_files(self) -> str:
        sources = [self._model, self._text_model] if self._text_model else [self._model]
        digest = hashlib.sha256(PREPROCESSING.encode())
        for source in sources:
            digest.update(f"|{source.files_hash()}".encode())
        return digest.hexdigest()[:32]


def _read(source: Source, needs: set[str], unused: Sequence[str]) -> Any:
    """Load a model in float32 on the CPU. Raises ModelUnavailable, and exceptions of the libraries."""
    from sentence_transformers import SentenceTransformer

    tower: Any = SentenceTransformer(str(source.folder), device="cpu")
    if missing := needs - set(tower.modalities):
        raise ModelUnavailable(f"{source} has no {' and no '.join(sorted(missing))} tower. {REMEDY}")
    if tower[0].auto_model.config.model_type == "clip":
        for part in unused:
            setattr(tower[0].auto_model, part, None)
    tower.preprocess = Preprocessing(tower.preprocess, tower.max_seq_length)
    return tower.float().eval()


def _accelerated(tower: Any, kind: str, size: int, device: torch.device, dtype: torch.dtype) -> Any:
    """Optimize a CLIP tower, move it to its device and precision, and return it.

    Before and after each step, two texts or two images are embedded. Raises RuntimeError if their vectors
    differ, and any exception of the step itself.
    """
    import torch

    from . import acceleration

    plain = _probe(tower, kind, size)
    tower.takes_pixels = acceleration.optimize(tower[0])  # in float32: nothing is rounded twice
    _check_equal(plain, _probe(tower, kind, size))
    tower = tower.to(device=device, dtype=dtype)
    if (device.type, dtype) == ("cpu", torch.bfloat16) and cpu_has_bfloat16():
        plain = _probe(tower, kind, size)
        acceleration.prepack(tower[0])
        _check_equal(plain, _probe(tower, kind, size))
    return tower


def _probe(tower: Any, kind: str, size: int) -> NDArray[np.float32]:
    """Return the vectors of two sample texts, or of two sample images."""
    import numpy as np

    if kind == "text":
        inputs = [{"text": text} for text in PROBE_TEXTS]
        return np.asarray(tower.encode(inputs, show_progress_bar=False), np.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    pixels[1, : size // 2] //= 4
    return ImageTower(tower, takes_pixels=getattr(tower, "takes_pixels", False)).embed(list(pixels))


def _check_equal(one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    lowest = float((_unit(one) * _unit(other)).sum(axis=1).min())
    if not lowest >= LOWEST_COSINE:
        raise RuntimeError(f"the vectors differ from those of the plain model (cosine {lowest:.4f})")


class Preprocessing:
    """The preprocessing of a model behind a lock, because fast tokenizers are not thread-safe."""

    def __init__(self, preprocess: Callable[..., Any], limit: int | None) -> None:
        self.fills: dict[str, bool] = {}
        """For each text, whether it has as many tokens as the model reads, or more."""
        self._preprocess, self._limit, self._lock = preprocess, limit, threading.Lock()

    def __call__(self, inputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """Return what the model's own function returns."""
        with self._lock:
            features = self._preprocess(inputs, *args, **kwargs)
            mask = features.get("attention_mask")
            if self._limit and mask is not None and len(mask) == len(inputs):
                filled = (mask.sum(dim=1) >= self._limit).tolist()
                self.fills |= {given["text"]: is_full for given, is_full in zip(inputs, filled, strict=True)}
        return features


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Turn transformers' progress bars off inside the block, so that they do not fill the logs."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@dataclass(frozen=True)
class ImageTower:
    """A vision tower. If `takes_pixels`, images are passed to it without its slow processor."""

    model: Any
    takes_pixels: bool

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return one vector for each image of a batch: float32 (n, dimension), not scaled to length 1."""
        import numpy as np
        import torch

        if not self.takes_pixels:
            pictures = [picture(image) for image in images]
            found = self.model.encode(pictures, batch_size=len(images), show_progress_bar=False)
            return np.asarray(found, np.float32)
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(images)).to(self.model.device).permute(0, 3, 1, 2)
            vectors = self.model({"pixel_values": pixels, "modality": "image"})["sentence_embedding"]
            return vectors.float().cpu().numpy()  # type: ignore[no-any-return]


def _readable(text: str) -> str:
    """Return a text that tokenizers accept: at most `TEXT_LIMIT` characters, without lone surrogates."""
    return text[:TEXT_LIMIT].encode("utf-8", "replace").decode()


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors scaled to length 1, in float32."""
    import numpy as np

    rows: NDArray[np.float32] = np.ascontiguousarray(vectors, np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows
