"""Texts and images → unit vectors. With `lightening`, the only user of torch's models, imported when used.

The two towers of a CLIP model are loaded separately, each when it is first asked for: a process that
only searches by text does not hold the vision tower, which is the larger half.
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
from functools import cached_property, lru_cache, wraps
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from django.utils.module_loading import import_string

from .conf import conf
from .cores import Lanes
from .exceptions import ModelUnavailable
from .images import picture, shrink
from .model_files import REMEDY, Source, unavailable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from .images import Resize

logger = logging.getLogger(__name__)

PREPROCESSING: Final = "1"
"""Raise this when `images.shrink`, or what is done to texts here, gives the model something else."""
TEXT_LIMIT: Final = 10_000
"""Characters of a text that are read: towers take 77 to 128 tokens, and tokenizing a novel takes seconds."""
SMALLEST_BATCH: Final = 16
"""Texts, or images: the model takes as long for each of so few as for each of many."""
PRECISIONS: Final = ("float32", "bfloat16", "float16")
WAITING: Final = "OMP_WAIT_POLICY"
"""How torch's threads wait for one another. Unless told otherwise they spin, and take the cores from whatever
decodes images, or works, beside them: that costs up to two thirds of the time where cores are shared."""
BFLOAT16_FLAGS: Final = {"amx_bf16", "avx512_bf16"}
"""What a CPU says of itself where bfloat16 is a gain; elsewhere it is emulated, and a large loss."""


class Encoder(Protocol):
    """What the package asks of an encoder; `clip_search.testing` has one that needs no model.

    An instance is made without arguments, reads its settings from `conf`, and is cheap until first used.
    Everything may be called from any thread, and raises ModelUnavailable. It may have a `resize` that is
    faster than Pillow's: see `images.shrink`.
    """

    @property
    def fingerprint(self) -> str:
        """Return what identifies the vectors' space; it needs no model in memory."""

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""

    @property
    def image_size(self) -> int:
        """Return the side, in pixels, that `images.shrink` is asked for."""

    @property
    def batch_size(self) -> int:
        """Return how many images are best given to one call."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), unit length."""

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), unit length, of what `images.shrink` gave."""

    def warm_up(self, *, images: bool = True) -> None:
        """Load now what would be loaded at first use; without `images`, only what texts need."""


def get_encoder() -> Encoder:
    """Return this process's encoder, of the class that CLIP_SEARCH["ENCODER"] names."""
    with _making:
        return _encoder(conf.encoder, conf.model, conf.text_model, conf.device, conf.precision)


@lru_cache(maxsize=4)
def _encoder(path: str, *_settings: str | None) -> Encoder:
    encoder: Encoder = import_string(path)()
    return encoder


_making = threading.Lock()  # lru_cache alone may make two at once, and each would load the model


def shrunk(encoder: Encoder, data: bytes) -> NDArray[np.uint8]:
    """Return an image as the encoder takes it. Raises BadImage, ModelUnavailable."""
    return shrink(data, encoder.image_size, getattr(encoder, "resize", None))


class ClipEncoder:
    """CLIP through sentence-transformers: "MODEL" for images, and for texts unless "TEXT_MODEL" is set."""

    def __init__(self) -> None:
        os.environ.setdefault(WAITING, "PASSIVE")  # here, because it is read when torch is imported
        self._model = Source("MODEL", conf.model)
        self._text_model = Source("TEXT_MODEL", conf.text_model) if conf.text_model else None
        self._device, self._precision = conf.device, conf.precision
        self._lock = threading.RLock()
        self._lanes = Lanes()

    @cached_property
    def fingerprint(self) -> str:
        """Return the hash of the model's files and of how they are fed. Raises ModelUnavailable.

        Precision and device are not part of it, nor is where the files lie.
        """
        return self._files_say()

    @cached_property
    def dimension(self) -> int:
        """Return the length of every vector. Loads the text tower. Raises ModelUnavailable."""
        return int(self.embed_texts([""]).shape[1])

    @cached_property
    def image_size(self) -> int:
        """Return the side of the model's square input in pixels. Raises ModelUnavailable."""
        with unavailable(self._model):
            from transformers import AutoConfig

            vision = getattr(AutoConfig.from_pretrained(self._model.transformer), "vision_config", None)
            return int(getattr(vision, "image_size", 224))

    @cached_property
    def resize(self) -> Resize | None:
        """What makes JPEGs smaller in a fifth of Pillow's time; None where the CPU cannot."""
        with unavailable(self._model):
            from . import lightening

            return lightening.resize if lightening.resizes_fast() else None

    @property
    def batch_size(self) -> int:
        """Return CLIP_SEARCH["BATCH_SIZE"] for each of the batches that are computed at once: one on a GPU.

        "auto" is 32 on a CPU, where more gains nothing, and 128 on CUDA: all that the pipeline claims at
        once, and enough for a GPU (6,400 rows in each matrix product).
        """
        return self._step * (self._lanes.count if self._on_cpu else 1)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts. Returns float32 (n, dimension), unit length. Raises ModelUnavailable.

        Each goes in as {"text": …}: as a plain string, sentence-transformers would open it, or fetch it,
        where it is the name or address of an image.
        """
        import numpy as np

        if not len(texts):
            return self._nothing
        with self._lock:
            tower, step = self._text_tower, self._step

            def embed(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
                inputs = [{"text": _readable(texts[number])} for number in numbers]
                found: NDArray[np.float32] = tower.encode(inputs, batch_size=step, show_progress_bar=False)
                return found

            # as long ones together as it goes, because a batch is as long as its longest; and the longest
            # batch first, so that the threads end together
            order = np.argsort([-len(text) for text in texts])
            parts = self._in_parts(embed, order)
        return _unit(parts[np.argsort(order)])

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed uint8 (size, size, 3) images. Returns float32 (n, dimension), unit length.

        Raises ModelUnavailable.
        """
        if not len(images):
            return self._nothing
        with self._lock:
            vectors = self._in_parts(self._image_tower.embed, images)
            found = vectors.shape[1]
            if self._text_model and found != self.dimension:
                raise ModelUnavailable(
                    f"{self._text_model} gives {self.dimension} dimensions, {self._model} {found}. "
                    'Set "TEXT_MODEL" to a text tower that was trained for this "MODEL", or to None.'
                )
        return _unit(vectors)

    def warm_up(self, *, images: bool = True) -> None:
        """Load the towers and run each once. Raises ModelUnavailable."""
        import numpy as np

        self.embed_texts(["warm up"])
        if images:
            self.embed_images([np.zeros((self.image_size, self.image_size, 3), np.uint8)])

    @property
    def _on_cpu(self) -> bool:
        return bool(self._placement[0].type == "cpu")

    @property
    def _step(self) -> int:
        return conf.batch_size or (128 if self._placement[0].type == "cuda" else 32)

    def _in_parts(self, embed: Callable[[Any], NDArray[np.float32]], inputs: Any) -> NDArray[np.float32]:
        """Embed batch by batch, on a CPU several at once, two for each lane, so that these end together."""
        import numpy as np

        count, lanes = len(inputs), self._lanes.count if self._on_cpu else 1
        wanted = min(2 * lanes, count // SMALLEST_BATCH) if lanes > 1 else 1
        size = ceil(count / max(wanted, ceil(count / self._step)))
        parts = [inputs[at : at + size] for at in range(0, count, size)]
        return np.concatenate(self._lanes.map(embed, parts) if lanes > 1 else [*map(embed, parts)])

    @property
    def _nothing(self) -> NDArray[np.float32]:
        import numpy as np

        return np.empty((0, self.dimension), np.float32)

    @cached_property
    def _placement(self) -> tuple[torch.device, torch.dtype]:
        return _place(self._device, self._precision)

    @cached_property
    def _text_tower(self) -> Any:
        if self._text_model:
            return self._load(self._text_model, needs={"text"})
        return self._load(self._model, needs={"text", "image"}, drop=("vision_model", "visual_projection"))

    @cached_property
    def _image_tower(self) -> ImageTower:
        return ImageTower.of(self._load(self._model, needs={"image"}, drop=("text_model", "text_projection")))

    def _load(self, source: Source, *, needs: set[str], drop: Sequence[str] = ()) -> Any:
        """Return a SentenceTransformer that can embed what `needs` says, without the parts to `drop`."""
        if self._files_say() != self.fingerprint:
            raise ModelUnavailable(f"The files of {source} have changed. Restart this process.")
        started = time.monotonic()
        device, dtype = self._placement
        with unavailable(source), _without_bars():
            import torch
            from sentence_transformers import SentenceTransformer

            from . import lightening

            tower: Any = SentenceTransformer(str(source.folder), device="cpu")
            if missing := needs - set(tower.modalities):
                raise ModelUnavailable(f"{source} has no {' and no '.join(sorted(missing))} tower. {REMEDY}")
            is_clip = tower[0].auto_model.config.model_type == "clip"
            if is_clip:
                for part in drop:
                    setattr(tower[0].auto_model, part, None)
                lightening.lighten(tower.float()[0])  # in float32, so that nothing is rounded twice
            tower.preprocess = _one_at_a_time(tower.preprocess)
            tower = tower.to(device=device, dtype=dtype).eval()  # saved precision is no promise
            if is_clip and (device.type, dtype) == ("cpu", torch.bfloat16) and cpu_has_bfloat16():
                lightening.pack(tower[0])
        facts = (source.name, device, str(dtype).removeprefix("torch."), time.monotonic() - started)
        logger.info("Loaded model=%s device=%s precision=%s seconds=%.2f", *facts)
        return tower

    def _files_say(self) -> str:
        sources = [self._model, self._text_model] if self._text_model else [self._model]
        digest = hashlib.sha256(PREPROCESSING.encode())
        for source in sources:
            digest.update(f"|{source.files_hash()}".encode())
        return digest.hexdigest()[:32]


def _one_at_a_time(preprocess: Callable[..., Any]) -> Callable[..., Any]:
    """Have only one thread in it: fast tokenizers are not safe across threads."""
    lock = threading.Lock()

    @wraps(preprocess)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return preprocess(*args, **kwargs)

    return locked


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep transformers' progress bars out of the logs of workers and web servers."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


@dataclass(frozen=True)
class ImageTower:
    """A vision tower, fed with pixels directly where it takes them: its processor is 4 times slower."""

    model: Any
    takes_pixels: bool

    @classmethod
    def of(cls, model: Any) -> ImageTower:
        """Return the tower of a SentenceTransformer."""
        from .lightening import Patches

        return cls(model, takes_pixels=any(isinstance(part, Patches) for part in model.modules()))

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), of any length, of one batch."""
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


def _place(device: str, precision: str) -> tuple[torch.device, torch.dtype]:
    """Return where to compute, and in which precision. Raises ModelUnavailable."""
    import torch

    on_cuda, on_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if on_cuda else "mps" if on_mps else "cpu"
    kind = device.partition(":")[0]
    if not {"cpu": True, "cuda": on_cuda, "mps": on_mps}.get(kind):
        raise ModelUnavailable(f'CLIP_SEARCH["DEVICE"] = {device!r} is not there. Set it to "auto" or "cpu".')
    if precision == "auto":
        fast_bfloat16 = kind == "cpu" and cpu_has_bfloat16()
        precision = "float16" if kind == "cuda" else "bfloat16" if fast_bfloat16 else "float32"
    if precision not in PRECISIONS:
        raise ModelUnavailable(f'CLIP_SEARCH["PRECISION"] = {precision!r} is none of "auto", {PRECISIONS}.')
    return torch.device(device), getattr(torch, precision)


@lru_cache(maxsize=1)
def cpu_has_bfloat16() -> bool:
    """Say whether this CPU multiplies bfloat16 matrices faster than float32 ones (AMX, AVX512-BF16)."""
    try:
        return not BFLOAT16_FLAGS.isdisjoint(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False


def _readable(text: str) -> str:
    """Return what a tokenizer takes: no end of text, no lone surrogates."""
    return text[:TEXT_LIMIT].encode("utf-8", "replace").decode()


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors of length 1, computed in float32 whatever the model's precision."""
    import numpy as np

    rows: NDArray[np.float32] = np.ascontiguousarray(vectors, np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows
