"""Makes a CLIP model compute the same vectors in less time.

This module replaces parts of transformers' CLIP model and uses private operators of torch. So when `clip`
loads a model, it compares the vectors with those of the plain model. If they differ, or if anything here
fails, it uses the plain model.
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
"""Up to this number of tokens (the longest text), attention in bfloat16 is faster as three operators."""
ROWS: Final = 1024
"""The expected number of rows in a matrix product. The result is right for any other number too."""


def optimize(transformer: Any) -> bool:
    """Change a CLIP model in float32 so that it computes only values that are used.

    `transformer` is the module of sentence-transformers. Return whether the vision tower now accepts the
    pixels of `images.shrink()` directly, without its processor.
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
    """Compute the activation in one pass instead of three: x·σ(1.702x) equals SiLU(1.702x) / 1.702."""
    for values in (mlp.fc1.weight, mlp.fc1.bias):
        values.mul_(QUICK_GELU)
    mlp.fc2.weight.div_(QUICK_GELU)
    mlp.activation_fn = nn.SiLU(inplace=True)


def _with_ends(text_model: Any, args: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Pass the position of each text's last token to the layers, because only this token's result is used."""
    ids, end = given["input_ids"], text_model.eos_token_id
    marks = ids if end == 2 else (ids == end).int()  # old configurations wrongly have 2
    return args, given | {"used": marks.argmax(dim=-1)}


class LastLayer(nn.Module):  # type: ignore[misc]
    """Computes the last layer only for the one token of each row that is used.

    All tokens of the row get its values.
    """

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
        """Return a tensor of the same shape as `hidden_states`: (rows, tokens, width).

        `used`, of shape (rows,), is the position of the used token in each text. It attends to the tokens up
        to itself, as with a causal mask. If `used` is None, the rows are images: their first token is used,
        and it attends to all tokens.
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
    """Make a vision tower rescale and normalize pixels itself, so that its processor is not needed.

    Return False, and change nothing, if the processor does anything else that `images.shrink()` does not.
    """
    if not _is_plain(processor, tower.config.image_size):
        return False
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    with torch.no_grad():
        patches = Patches(tower.embeddings.patch_embedding, processor.rescale_factor / std, -mean / std)
    tower.embeddings.patch_embedding = patches
    return True


def _is_plain(processor: Any, size: int) -> bool:
    """Return whether a processor does only what `images.shrink()` does, and rescales and normalizes."""
    does = processor.to_dict() if processor else {}
    return (
        all(does.get(f"do_{step}") for step in ("resize", "center_crop", "rescale", "normalize"))
        and does.get("resample") == 3  # bicubic
        and dict(does["size"]) == {"shortest_edge": size}
        and dict(does["crop_size"]) == {"height": size, "width": size}
    )


class Patches(nn.Module):  # type: ignore[misc]
    """Computes the first convolution of a vision tower as a matrix product.

    This is possible because the patches of the convolution do not overlap. The weights also contain the
    normalization, pixels · scale + shift. The pixel values 0 to 255 are exact in bfloat16.
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
        """The weights. The model reads their type here, and converts the pixels to this type."""
        return self.product.weight

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return a tensor (images, width, rows, columns) for pixels (images, channels, height, width)."""
        side = self.side
        count, channels, height, width = pixels.shape
        rows, columns = height // side, width // side
        pixels = pixels[:, :, : rows * side, : columns * side].permute(0, 2, 3, 1)
        patches = pixels.reshape(count, rows, side, columns, side, channels).transpose(2, 3)
        return self.product(patches.flatten(3)).permute(0, 3, 1, 2)


def prepack(transformer: Any) -> None:
    """Store the bfloat16 weights of a CLIP model in the order in which oneDNN multiplies them.

    Otherwise oneDNN would reorder the weights at every call. torch's own compiler uses the same operators.
    """
    # The list does not contain the linear layers, so that each is freed as soon as it is packed.
    for module in [part for part in transformer.modules() if type(part) is not nn.Linear]:
        if isinstance(module, CLIPMLP) and isinstance(module.activation_fn, nn.SiLU):
            module.fc1, module.activation_fn = PackedLinear(module.fc1, "swish"), nn.Identity()
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child))
        if isinstance(module, CLIPTextModel | CLIPVisionModel) and _is_short(module):
            module.set_attn_implementation("eager")


def _is_short(tower: Any) -> bool:
    """Return whether a tower has so few tokens that attention is faster as three separate operators."""
    return bool(tower.embeddings.position_embedding.num_embeddings <= FEW_TOKENS)


class PackedLinear(nn.Module):  # type: ignore[misc]
    """A linear layer in bfloat16, with weights packed for oneDNN, and the activation function after it."""

    def __init__(self, layer: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.activation = activation
        with torch.no_grad():
            self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
        self.bias = layer.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a tensor (…, outputs) for a tensor (…, inputs)."""
        multiply = torch.ops.mkldnn._linear_pointwise
        return multiply(rows, self.weight, self.bias, self.activation, [], "")
