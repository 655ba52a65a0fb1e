"""Finds the files of a CLIP model, downloads them if needed, and computes their hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from ..exceptions import BackendUnavailable, ClipSearchError, ModelUnavailable
from . import gpu_memory

MODEL_FILES: Final = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")
"""Name patterns of the files that define a model: configuration, vocabulary and weights."""
OTHER_BACKENDS: Final = ("onnx", "openvino")
"""Folders with the same weights for other libraries. They are ignored."""
REMEDY: Final = (
    "Set it to the folder or name of a CLIP model for sentence-transformers, "
    'such as "sentence-transformers/clip-ViT-B-32", or name an encoder of your own in "ENCODER".'
)
PROVEN: Final = {
    "MODEL": ("clip",),
    "TEXT_MODEL": ("bert", "clip", "distilbert", "mpnet", "roberta", "xlm-roberta"),
}
"""The families of models (`model_type`) that are tested: their vectors equal those of the makers' own code.

Other families may load, but give wrong vectors. For example, SigLIP needs texts padded to 64 tokens.
"""


class Source:
    """A CLIP model that a setting names: its folder, or its name on the Hugging Face hub."""

    def __init__(self, setting: str, name: str) -> None:
        self.setting, self.name = setting, name

    def __str__(self) -> str:
        return f'CLIP_SEARCH["{self.setting}"] = {self.name!r}'

    @cached_property
    def folder(self) -> Path:
        """The folder of the model's files. A model of the hub is downloaded once. Raises ModelUnavailable."""
        folder = Path(self.name).expanduser()
        if folder.is_dir():
            return folder
        if folder.is_absolute():
            raise ModelUnavailable(f"{self}: there is no such folder. {REMEDY}")
        with unavailable(self):
            return _snapshot(full_name(self.name))

    @cached_property
    def transformer(self) -> Path:
        """The folder of the transformer: see `transformer_of()`."""
        return transformer_of(self.folder)

    def cached_folder(self) -> Path | None:
        """Return the folder of the model's files if they are on this machine, or None.

        A system check calls this at each start. So huggingface_hub is not imported, which would take as long
        as importing Django.
        """
        folder = Path(self.name).expanduser()
        if folder.is_dir():
            return folder
        cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
        home = os.environ.get("HF_HOME", f"{cache}/huggingface")
        hub = Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()
        model = hub / f"models--{full_name(self.name).replace('/', '--')}"
        try:
            return model / "snapshots" / (model / "refs" / "main").read_text().strip()
        except (OSError, ValueError):
            return None

    def unproven(self, folder: Path) -> str:
        """Return an error message if the model in this folder may give wrong vectors, or ""."""
        try:
            folder = transformer_of(folder)
        except (OSError, ValueError, LookupError, TypeError):
            return ""  # loading the model reports the error
        family, known = _json(folder / "config.json").get("model_type"), PROVEN[self.setting]
        if family and family not in known:
            return (
                f"{self} is of the family {family!r}, which may load and give wrong vectors. Proven to give "
                f"those of its makers' own code: {', '.join(known)}."
            )
        images = _json(folder / "processor_config.json").get("image_processor")
        images = images if isinstance(images, dict) else _json(folder / "preprocessor_config.json")
        size = images.get("size")
        if self.setting == "MODEL" and isinstance(size, dict) and "height" in size:
            return f"{self} needs images that are squashed to a square. Here their middle is cut out."
        return ""

    def files_hash(self) -> str:
        """Return a hash of the names and contents of the model's files. Raises ModelUnavailable."""
        digest = hashlib.sha256()
        with unavailable(self):
            if fault := self.unproven(self.folder):
                raise ModelUnavailable(f"{fault} {REMEDY}")
            for path in _model_files(self.folder):
                stat = path.stat()
                content = _file_hash(path, stat.st_size, stat.st_mtime_ns)
                digest.update(f"{path.relative_to(self.folder).as_posix()} {content}\n".encode())
        return digest.hexdigest()


def full_name(name: str) -> str:
    """Return the name of a model on the Hugging Face hub, with its organisation before a slash."""
    return name if "/" in name else f"sentence-transformers/{name}"


def transformer_of(folder: Path) -> Path:
    """Return the folder of the transformer: `folder`, or its subfolder `0_CLIPModel` in old models."""
    listing = folder / "modules.json"
    modules = json.loads(listing.read_text()) if listing.exists() else [{"path": ""}]
    return Path(folder / modules[0]["path"])


def _json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file, or {} if it is missing, damaged or no object."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    return {}


def _model_files(folder: Path) -> list[Path]:
    """Return the sorted paths of a model's files, with pickled weights only if there are no safetensors."""
    found = {path for pattern in MODEL_FILES for path in folder.rglob(pattern)}
    safe = {path.parent for path in found if path.suffix == ".safetensors"}
    return sorted(
        path
        for path in found
        if not (path.suffix == ".bin" and path.parent in safe)
        and not any(part.startswith(".") or part in OTHER_BACKENDS for part in path.relative_to(folder).parts)
    )


@lru_cache(maxsize=256)
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    """Return the hash of a file's content. The result is cached until the file's size or time changes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _snapshot(name: str) -> Path:
    """Return the folder of a model of the Hugging Face hub. Missing files are downloaded."""
    from huggingface_hub import snapshot_download

    wanted: Any = {"allow_patterns": [*MODEL_FILES], "ignore_patterns": [f"{b}/*" for b in OTHER_BACKENDS]}
    with suppress(OSError):
        folder = Path(snapshot_download(name, local_files_only=True, **wanted))
        if any(path.suffix in (".safetensors", ".bin") for path in _model_files(folder)):
            return folder
    try:
        return Path(snapshot_download(name, **wanted))
    except OSError as error:
        if partial := getattr(error, "snapshot_path", None):  # it may be complete enough
            return Path(partial)
        raise


@contextmanager
def unavailable(source: Source) -> Iterator[None]:
    """Turn any exception in the block into ModelUnavailable, with a message that names the setting.

    If the model does not fit into the memory of the GPU, raise BackendUnavailable.
    """
    try:
        yield
    except ClipSearchError:
        raise
    except Exception as error:  # four libraries have their own exceptions for files that they cannot read
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        reason = reason.rstrip(".")
        if gpu_memory.is_out_of_memory(error):
            raise BackendUnavailable(f"{source} cannot be loaded: {reason}. {gpu_memory.REMEDY}") from error
        raise ModelUnavailable(f"{source} cannot be loaded: {reason}. {REMEDY}") from error
