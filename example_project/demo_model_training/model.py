"""The model: a CLIP of under a million parameters, and its tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

from .training_pictures import SIZE

PATCH_SIZE = 12
DIMENSIONS = 96
VOCABULARY_SIZE = 1_100
PAD, BOS, EOS = "<pad>", "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer: no case, accents or punctuation, and no unknown words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}"), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        # EOS must not have id 2: transformers would take the model for an old CLIP and pool another token.
        special_tokens=[PAD, EOS, BOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=77, bos_token=BOS, eos_token=EOS, pad_token=PAD
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """Return the untrained model. Its size is what fits into 4 MB as float32."""
    text = {
        "vocab_size": len(tokenizer),
        "projection_dim": DIMENSIONS,
        "hidden_size": 80,
        "intermediate_size": 320,
        "num_hidden_layers": 2,
        "hidden_act": "relu",
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "projection_dim": DIMENSIONS,
        "hidden_size": 112,
        "intermediate_size": 448,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": PATCH_SIZE,
        # Several times as fast to train as quick_gelu, which torch does not fuse on a CPU.
        "hidden_act": "relu",
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIMENSIONS))
    positions = grid_positions(SIZE // PATCH_SIZE, model.config.vision_config.hidden_size)
    model.vision_model.embeddings.position_embedding.weight.data[1:] = positions
    return model


def grid_positions(side: int, dim: int) -> torch.Tensor:
    """Return the initial position embeddings of the patches: sines and cosines, float32 (side², dim).

    With these instead of CLIP's random ones, a small vision tower learns shapes in fewer steps (Beyer et al.,
    2022, "Better plain ViT baselines for ImageNet-1k").
    """
    rates = torch.exp(-torch.arange(dim // 4) / (dim // 4) * math.log(50))
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.reshape(-1, 1) * rates for axis in (columns, rows)]
    return 0.5 * torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def build_image_processor() -> CLIPImageProcessor:
    """Return the preprocessing of pictures: the middle square, resized to `SIZE`."""
    return CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
