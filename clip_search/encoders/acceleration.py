"""A CLIP model with less work for the same vectors.

This replaces parts of transformers' CLIP and uses private operators of torch, so `clip` compares the vectors
with those of the plain model when it is loaded, and uses the plain model if they differ or anything fails.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn
from transformers.activations import QuickGELUActivation
from transformers.models.clip.modeling_clip import CLIPMLP, CLIPTextModel, CLIPVisionModel

QUICK_GELU: Final = 1.702
"""CLIP's activation is x·σ(1.702x), after Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016)."""
FEW_TOKENS: Final = 77
"""Up to this number, the longest text, attention in bfloat16 is faster in three operators than in one."""
ROWS: Final = 1024
"""About how many rows the packed weights are multiplied with. The result is the same for any number."""


def optimize(transformer: Any) -> bool:
    """Make a CLIP model in float32 compute only what is used of it.

    `transformer` is the module of sentence-transformers. Return whether its vision tower takes the pixels of
    `images.shrink()` rather than those of its processor.
    """
    takes_pixels = False
    model = transformer.auto_model
    with torch.no_grad():
        for mlp in model.modules():
            if isinstance(mlp, CLIPMLP) and isinstance(mlp.activation_fn, QuickGELUActivation):
                _activate_in_place(mlp)
    for kind, name in (("image", "vision_model"), ("text", "text_model")):
        tower = getattr(model, name, None)
        if tower is None:
            continue
        if transformer.modality_config.get(kind, {}).get("method_output_name") == "pooler_output":
            tower.encoder.layers[-1] = LastLayer(tower.encoder.layers[-1])
            if kind == "text":
                tower.register_forward_pre_hook(_with_ends, with_kwargs=True)
        if kind == "image":
            takes_pixels = _take_pixels(tower, getattr(transformer.processor, "image_processor", None))
    return takes_pixels


def _activate_in_place(mlp: Any) -> None:
    """Compute the activation in one pass rather than in three: x·σ(1.702x) is SiLU(1.702x) / 1.702."""
    for values in (mlp.fc1.weight, mlp.fc1.bias):
        values.mul_(QUICK_GELU)
    mlp.fc2.weight.div_(QUICK_GELU)
    mlp.activation_fn = nn.SiLU(inplace=True)


def _with_ends(text_model: Any, args: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Pass the position of each text's end to the layers: only that token of the last layer is used."""
    ids, end = given["input_ids"], text_model.eos_token_id
    marks = ids if end == 2 else (ids == end).int()  # old configurations have 2, which is wrong
    return args, given | {"used": marks.argmax(dim=-1)}


class LastLayer(nn.Module):  # type: ignore[misc]
    """The last layer of a tower, for the one token of each row that is used. All tokens get its values."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        used: torch.Tensor | None = None,
        **_others: Any,
    ) -> torch.Tensor:
        """Return (rows, tokens, width) for the same; `used` is (rows,), None for the first token of each.

        A text's token attends to the tokens up to itself, as with a causal mask, and an image's token to all.
        """
        layer, attention = self.layer, self.layer.self_attn
        rows, tokens, width = hidden_states.shape
        heads = (rows, -1, attention.num_heads, attention.head_dim)
        if used is None:
            place, seen = (slice(None), slice(1)), None
        else:
            place = (torch.arange(rows, device=used.device)[:, None], used[:, None])
            seen = (torch.arange(tokens, device=used.device) <= used[:, None])[:, None, None]
        normal = layer.layer_norm1(hidden_states)
        query = attention.q_proj(normal[place]).view(heads).transpose(1, 2)
        keys = attention.k_proj(normal).view(heads).transpose(1, 2)
        values = attention.v_proj(normal).view(heads).transpose(1, 2)
        found = nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
        found = attention.out_proj(found.transpose(1, 2).reshape(rows, 1, width)) + hidden_states[place]
        found = layer.mlp(layer.layer_norm2(found)) + found
        return found.expand(rows, tokens, width)


def _take_pixels(tower: Any, processor: Any) -> bool:
    """Make a vision tower rescale and normalize pixels itself, if that is all that its processor does."""
    if not _is_plain(processor, tower.config.image_size):
        return False
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    with torch.no_grad():
        patches = Patches(tower.embeddings.patch_embedding, processor.rescale_factor / std, -mean / std)
    tower.embeddings.patch_embedding = patches
    return True


def _is_plain(processor: Any, size: int) -> bool:
    """Return whether a processor does the same as `images.shrink()`, then rescales and normalizes."""
    does = processor.to_dict() if processor else {}
    return (
        all(does.get(f"do_{step}") for step in ("resize", "center_crop", "rescale", "normalize"))
        and does.get("resample") == 3  # bicubic
        and dict(does["size"]) == {"shortest_edge": size}
        and dict(does["crop_size"]) == {"height": size, "width": size}
    )


class Patches(nn.Module):  # type: ignore[misc]
    """The convolution at the start of a vision tower as a matrix product: its patches do not overlap.

    Its weights include pixels · scale + shift, both (3, 1, 1). The values 0 to 255 are exact in bfloat16.
    """

    def __init__(self, convolution: Any, scale: torch.Tensor, shift: torch.Tensor) -> None:
        super().__init__()
        kernels = convolution.weight
        width, channels, self.side, _ = kernels.shape
        self.product = nn.Linear(channels * self.side**2, width)
        self.product.weight.copy_((kernels * scale).permute(0, 2, 3, 1).flatten(1))
        self.product.bias.copy_((kernels * shift).sum((1, 2, 3)))

    @property
    def weight(self) -> torch.Tensor:
        """The weights: the model converts pixels to their type."""
        return self.product.weight

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (images, width, rows, columns) for (images, channels, height, width) pixels."""
        side = self.side
        count, channels, height, width = pixels.shape
        rows, columns = height // side, width // side
        pixels = pixels[:, :, : rows * side, : columns * side].permute(0, 2, 3, 1)
        patches = pixels.reshape(count, rows, side, columns, side, channels).transpose(2, 3)
        return self.product(patches.flatten(3)).permute(0, 3, 1, 2)


def prepack(transformer: Any) -> None:
    """Store the weights of a CLIP model in bfloat16 in the order that oneDNN multiplies them in.

    Otherwise oneDNN reorders them at every call. torch's own compiler uses the same operators.
    """
    # the list does not hold the layers themselves, so that each is freed when it is packed
    for module in [part for part in transformer.modules() if type(part) is not nn.Linear]:
        if isinstance(module, CLIPMLP) and isinstance(module.activation_fn, nn.SiLU):
            module.fc1, module.activation_fn = PackedLinear(module.fc1, "swish"), nn.Identity()
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child))
        if isinstance(module, CLIPTextModel | CLIPVisionModel) and _is_short(module):
            module.set_attn_implementation("eager")


def _is_short(tower: Any) -> bool:
    """Return whether attention over a tower's tokens is faster in separate operators than in one."""
    return bool(tower.embeddings.position_embedding.num_embeddings <= FEW_TOKENS)


class PackedLinear(nn.Module):  # type: ignore[misc]
    """A linear layer in bfloat16 whose weights are packed for oneDNN, and the activation after it."""

    def __init__(self, layer: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.activation = activation
        with torch.no_grad():
            self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
        self.bias = layer.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return (…, outputs) for (…, inputs)."""
        multiply = torch.ops.mkldnn._linear_pointwise
        return multiply(rows, self.weight, self.bias, self.activation, [], "")
