"""A CLIP model, and pictures for it, by less work; docs/performance.rst says how much less.

Used by `encoder` alone, which imports it where it has imported torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from transformers.activations import QuickGELUActivation
from transformers.models.clip.modeling_clip import CLIPMLP, CLIPTextModel, CLIPVisionModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUICK_GELU: Final = 1.702
"""CLIP's activation is x·σ(1.702x), after Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016)."""
FEW_TOKENS: Final = 77
"""Up to here, which is a text's most, attention in bfloat16 is faster in three operators than in one."""
VECTORS: Final = {"AVX2", "AVX512"}
"""What torch says of CPUs for which it resizes bytes with vector instructions."""
ROWS: Final = 1024
"""Of what is multiplied with packed weights, more or less: with any number of rows the result is the same."""


def lighten(transformer: Any) -> None:
    """Have sentence-transformers' module of a CLIP model, in float32, compute only what is used of it."""
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
            _take_pixels(tower, getattr(transformer.processor, "image_processor", None))


def _activate_in_place(mlp: Any) -> None:
    """Have one pass do what three did, each into new memory: x·σ(1.702x) is SiLU(1.702x) / 1.702."""
    for values in (mlp.fc1.weight, mlp.fc1.bias):
        values.mul_(QUICK_GELU)
    mlp.fc2.weight.div_(QUICK_GELU)
    mlp.activation_fn = nn.SiLU(inplace=True)


def _with_ends(text_model: Any, args: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Tell the layers where each text ends: there, as the model itself sees it, its last layer is read."""
    ids, end = given["input_ids"], text_model.eos_token_id
    marks = ids if end == 2 else (ids == end).int()  # 2 is what old configurations say, whatever it is
    return args, given | {"used": marks.argmax(dim=-1)}


class LastLayer(nn.Module):  # type: ignore[misc]
    """The last layer of a tower, for the one token that is used of each row: every other gets its values."""

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
        """Return (rows, tokens, width) of the same; `used` is (rows,), None for the first token of each.

        A text's token sees those up to its own, as in a causal mask, and an image's sees all.
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


def _take_pixels(tower: Any, processor: Any) -> None:
    """Have a vision tower do to the pixels of `images.shrink` what its processor would still do to them."""
    if not _is_plain(processor, tower.config.image_size):
        return
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    with torch.no_grad():
        patches = Patches(tower.embeddings.patch_embedding, processor.rescale_factor / std, -mean / std)
    tower.embeddings.patch_embedding = patches


def _is_plain(processor: Any, size: int) -> bool:
    """Say whether a processor only does what `images.shrink` did, then rescales and normalizes."""
    does = processor.to_dict() if processor else {}
    return (
        all(does.get(f"do_{step}") for step in ("resize", "center_crop", "rescale", "normalize"))
        and does.get("resample") == 3  # bicubic
        and dict(does["size"]) == {"shortest_edge": size}
        and dict(does["crop_size"]) == {"height": size, "width": size}
    )


class Patches(nn.Module):  # type: ignore[misc]
    """The convolution that begins a vision tower, as the matrix product that it is: no two patches overlap.

    It takes pixels for pixels · scale + shift, both (3, 1, 1): these are in its weights, and 0 to 255 are
    exact in bfloat16.
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
        """Return the weights, of whose type the model wants its pixels."""
        return self.product.weight

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (images, width, rows, columns) of (images, channels, height, width) pixels."""
        side = self.side
        count, channels, height, width = pixels.shape
        rows, columns = height // side, width // side
        pixels = pixels[:, :, : rows * side, : columns * side].permute(0, 2, 3, 1)
        patches = pixels.reshape(count, rows, side, columns, side, channels).transpose(2, 3)
        return self.product(patches.flatten(3)).permute(0, 3, 1, 2)


def pack(transformer: Any) -> None:
    """Have a CLIP model in bfloat16 do its products as fast as a CPU can, which torch does not by itself.

    oneDNN would reorder the weights at every call: packed, they lie as it wants them. These are the operators
    that torch's own compiler puts in; where a torch has none, the model stays as it is.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    # without the layers themselves in the list, each goes as it is packed: else all would be held twice
    for module in [part for part in transformer.modules() if type(part) is not nn.Linear]:
        if isinstance(module, CLIPMLP) and isinstance(module.activation_fn, nn.SiLU):
            module.fc1, module.activation_fn = PackedLinear(module.fc1, "swish"), nn.Identity()
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child))
        if isinstance(module, CLIPTextModel | CLIPVisionModel) and _is_short(module):
            module.set_attn_implementation("eager")


def _is_short(tower: Any) -> bool:
    """Say whether attention over a tower's tokens is faster in separate steps than in one."""
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
        """Return (…, outputs) of (…, inputs)."""
        multiply = torch.ops.mkldnn._linear_pointwise
        return multiply(rows, self.weight, self.bias, self.activation, [], "")


def resizes_fast() -> bool:
    """Say whether torch has vector instructions for `resize` here: without, it takes longer than Pillow."""
    return torch.backends.cpu.get_cpu_capability() in VECTORS


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return (rows, columns, 3) pixels in another size, of a photo as Pillow's bicubic to 1 in each value."""
    with torch.inference_mode():
        rows = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
        found = nn.functional.interpolate(rows, (height, width), mode="bicubic", antialias=True)
        return found[0].permute(1, 2, 0).numpy()  # type: ignore[no-any-return]
