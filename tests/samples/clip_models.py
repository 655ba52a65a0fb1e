"""CLIP models of random weights, in every layout that CLIP_SEARCH["MODEL"] may name; one is full-size.

They cost nothing and mean nothing: what they show is that files are found, towers loaded and vectors
computed as sentence-transformers does it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DIMENSION = 24
IMAGE_SIZE = 48
LEGACY_TYPE = "sentence_transformers.models.CLIPModel"


def save_plain(
    folder: Path,
    *,
    seed: int = 0,
    dimension: int = DIMENSION,
    hidden_act: str = "quick_gelu",
    **overrides: Any,
) -> Path:
    """Save a plain transformers CLIP model: configuration, weights, tokenizer and image processor."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    _save_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_processor()))
    torch.manual_seed(seed)
    CLIPModel(CLIPConfig(**_config(folder, dimension, hidden_act) | overrides)).eval().save_pretrained(folder)
    return folder


def save_full_size(folder: Path, texts: Sequence[str] = ()) -> Path:
    """Save a ViT-B/32 (151 million parameters): it knows nothing, and costs what a trained one costs.

    Of the words of `texts` each is one token, as nearly all English words are to the published one.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel

    _save_tokenizer(folder, texts)
    processor = _processor(224) | {"size": {"shortest_edge": 224}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config={"eos_token_id": 2})).eval().save_pretrained(folder)
    return folder


def save_legacy(folder: Path, *, seed: int = 0) -> Path:
    """Save the layout that clip-ViT-B-32 was published in: pickled weights under `0_CLIPModel/`."""
    import torch
    from safetensors.torch import load_file

    inner = save_plain(folder / "0_CLIPModel", seed=seed)
    torch.save(load_file(inner / "model.safetensors"), inner / "pytorch_model.bin")
    (inner / "model.safetensors").unlink()
    (inner / "preprocessor_config.json").write_text(
        json.dumps(_processor() | {"size": IMAGE_SIZE, "crop_size": IMAGE_SIZE})
    )
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": LEGACY_TYPE}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config_sentence_transformers.json").write_text('{"__version__": {"pytorch": "1.8.0"}}')
    return folder


def save_current(folder: Path, plain: Path) -> Path:
    """Save a plain model again as today's sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(plain), device="cpu").save(str(folder))
    return folder


def save_pooled(folder: Path, plain: Path, kinds: Sequence[str] = ("text", "image")) -> Path:
    """Save a plain model as one whose vectors are the mean over all tokens, before any projection."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    outputs = {
        kind: {"method": f"get_{kind}_features", "method_output_name": "last_hidden_state"} for kind in kinds
    }
    tower = Transformer(str(plain), modality_config=outputs, module_output_name="token_embeddings")
    SentenceTransformer(modules=[tower, Pooling(32)], device="cpu").save(str(folder))
    return folder


def save_text(folder: Path, *, dimension: int = DIMENSION) -> Path:
    """Save a text tower of its own kind, as the multilingual one: DistilBERT, pooling, a dense layer."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertTokenizerFast, DistilBertConfig, DistilBertModel

    source = folder / "source"
    source.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(33, 127))]
    (source / "vocab.txt").write_text("\n".join([*words, *(f"##{chr(c)}" for c in range(33, 127))]))
    BertTokenizerFast(str(source / "vocab.txt"), model_max_length=128).save_pretrained(source)
    torch.manual_seed(1)
    config = DistilBertConfig(vocab_size=200, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    DistilBertModel(config).eval().save_pretrained(source)
    tower = Transformer(str(source))
    dense = Dense(32, dimension, bias=False, activation_function=torch.nn.Identity())
    SentenceTransformer(modules=[tower, Pooling(32), dense], device="cpu").save(str(folder / "model"))
    return folder / "model"


def save_text_family(folder: Path, family: str) -> Path:
    """Save a text model of a family, by its `model_type`: two layers, then the mean over the tokens."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    vocabulary = {word: number for number, word in enumerate([*special.values(), *map(chr, range(33, 127))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    source = folder / "source"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **special)
    fast.save_pretrained(source)
    size = {"hidden_size": DIMENSION, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"vocab_size": 200, "max_position_embeddings": 140, "bos_token_id": 0, "pad_token_id": 1}
    torch.manual_seed(1)
    AutoModel.from_config(AutoConfig.for_model(family, **size, **ids)).eval().save_pretrained(source)
    modules = [Transformer(str(source)), Pooling(DIMENSION)]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return folder / "model"


def _config(folder: Path, dimension: int, hidden_act: str) -> dict[str, Any]:
    """A tiny CLIP; the end of a text is found as the published models do it (eos_token_id = 2)."""
    vocabulary = json.loads((folder / "vocab.json").read_text())
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tower |= {"hidden_act": hidden_act}
    return {
        "text_config": tower | {"vocab_size": len(vocabulary), "eos_token_id": 2},
        "vision_config": tower | {"image_size": IMAGE_SIZE, "patch_size": 16},
        "projection_dim": dimension,
    }


def _processor(size: int = IMAGE_SIZE) -> dict[str, Any]:
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "do_center_crop": True,
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size},
    }


def _save_tokenizer(folder: Path, texts: Sequence[str] = ()) -> None:
    """Write a byte-level vocabulary: each word of `texts` is a token, and each letter of any other word."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(ByteLevel.alphabet())
    letters += [f"{letter}</w>" for letter in letters]
    merges = _merges(CLIPTokenizer(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]), texts)
    tokens = [*letters, *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]  # pooled at the highest
    vocabulary = {token: number for number, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]))


def _merges(letters: Any, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of which a tokenizer of letters makes the words of the texts."""
    if not texts:
        return []
    trained = letters.train_new_from_iterator(texts, vocab_size=2**16)
    pairs = json.loads(trained.backend_tokenizer.to_str())["model"]["merges"]
    return [(left, right) for left, right in pairs]
