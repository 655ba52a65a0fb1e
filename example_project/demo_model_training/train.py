"""Train the demo's small CLIP from scratch, on pictures drawn by ``demo_model_training.rendering``.

The result is a folder that ``SentenceTransformer(folder)`` loads like any published CLIP, but of at most
4 MB: a vision tower for 72×72 pictures and a text tower that reads English and French, under a million
float32 parameters together. It knows the demo's kinds of object, colours and patterns, and nothing else.

    python example_project/train_demo_model.py
"""

from __future__ import annotations

import argparse
import colorsys
import json
import math
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Threads that wait must sleep: spinning ones take the cores from whatever else runs here, and training took
# three times the CPU time. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
)

from demo.catalogue import product_texts
from demo_model_training.rendering import BACKDROPS, COLOURS, KINDS, PATTERNS, RGB, Pose, Style, render

OUTPUT = Path(__file__).resolve().parent.parent / "demo_model"
MAX_BYTES = 4_000_000
SIDE = 72
PATCH = 12
BATCH = 96
DIMENSIONS = 96
PICTURES = 24_000
VOCABULARY = 1_100
LEARNING_RATE = 1.6e-3
PAD, BOS, EOS = "<pad>", "<|startoftext|>", "<|endoftext|>"

# --- words --------------------------------------------------------------------------------------------

ENGLISH_NOUNS: dict[str, tuple[str, ...]] = {
    "mug": ("mug", "cup", "coffee mug", "tea cup", "coffee cup"),
    "teapot": ("teapot", "tea pot", "tea kettle", "kettle"),
    "bottle": ("bottle", "water bottle", "flask", "drinking bottle"),
    "vase": ("vase", "flower vase"),
    "t-shirt": ("t-shirt", "tshirt", "tee", "shirt", "tee shirt"),
    "dress": ("dress", "summer dress", "gown"),
    "hat": ("hat", "sun hat", "cap"),
    "shoe": ("shoe", "sneaker", "trainer", "running shoe"),
    "backpack": ("backpack", "rucksack", "school bag"),
    "handbag": ("handbag", "purse", "hand bag", "ladies' bag"),
    "umbrella": ("umbrella", "parasol", "brolly"),
    "lamp": ("lamp", "table lamp", "light", "bedside lamp"),
    "chair": ("chair", "dining chair", "kitchen chair"),
    "sofa": ("sofa", "couch", "settee"),
    "clock": ("clock", "wall clock", "alarm clock"),
    "cushion": ("cushion", "pillow", "throw pillow"),
    "guitar": ("guitar", "acoustic guitar"),
    "headphones": ("headphones", "headset", "headphone"),
}
# (noun, is feminine, plural).
FRENCH_NOUNS: dict[str, tuple[tuple[str, bool, str], ...]] = {
    "mug": (("tasse", True, "tasses"), ("mug", False, "mugs"), ("tasse à café", True, "tasses à café")),
    "teapot": (("théière", True, "théières"), ("bouilloire", True, "bouilloires")),
    "bottle": (("bouteille", True, "bouteilles"), ("gourde", True, "gourdes")),
    "vase": (("vase", False, "vases"), ("vase à fleurs", False, "vases à fleurs")),
    "t-shirt": (("t-shirt", False, "t-shirts"), ("tee-shirt", False, "tee-shirts")),
    "dress": (("robe", True, "robes"), ("robe d'été", True, "robes d'été")),
    "hat": (("chapeau", False, "chapeaux"), ("casquette", True, "casquettes")),
    "shoe": (("chaussure", True, "chaussures"), ("basket", True, "baskets")),
    "backpack": (("sac à dos", False, "sacs à dos"), ("cartable", False, "cartables")),
    "handbag": (("sac à main", False, "sacs à main"), ("sacoche", True, "sacoches")),
    "umbrella": (("parapluie", False, "parapluies"), ("ombrelle", True, "ombrelles")),
    "lamp": (("lampe", True, "lampes"), ("lampe de chevet", True, "lampes de chevet")),
    "chair": (("chaise", True, "chaises"), ("chaise de cuisine", True, "chaises de cuisine")),
    "sofa": (("canapé", False, "canapés"), ("sofa", False, "sofas"), ("divan", False, "divans")),
    "clock": (("horloge", True, "horloges"), ("pendule", True, "pendules"), ("réveil", False, "réveils")),
    "cushion": (("coussin", False, "coussins"), ("oreiller", False, "oreillers")),
    "guitar": (("guitare", True, "guitares"), ("guitare acoustique", True, "guitares acoustiques")),
    "headphones": (("casque audio", False, "casques audio"), ("casque", False, "casques")),
}
ENGLISH_COLOURS: dict[str, tuple[str, ...]] = {
    **{colour: (colour,) for colour in COLOURS},
    "red": ("red", "red", "scarlet", "crimson"),
    "turquoise": ("turquoise", "teal", "turquoise"),
    "blue": ("blue", "blue", "navy blue"),
    "purple": ("purple", "violet"),
    "grey": ("grey", "gray"),
}
# Masculine, feminine, masculine plural, feminine plural: the adjective agrees with its noun.
FRENCH_COLOURS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "red": (("rouge", "rouge", "rouges", "rouges"),),
    "orange": (("orange", "orange", "orange", "orange"),),
    "yellow": (("jaune", "jaune", "jaunes", "jaunes"),),
    "green": (("vert", "verte", "verts", "vertes"),),
    "turquoise": (("turquoise", "turquoise", "turquoise", "turquoise"),),
    "blue": (("bleu", "bleue", "bleus", "bleues"),),
    "purple": (("violet", "violette", "violets", "violettes"), ("mauve", "mauve", "mauves", "mauves")),
    "pink": (("rose", "rose", "roses", "roses"),),
    "brown": (("marron", "marron", "marron", "marron"), ("brun", "brune", "bruns", "brunes")),
    "black": (("noir", "noire", "noirs", "noires"),),
    "grey": (("gris", "grise", "gris", "grises"),),
    "white": (("blanc", "blanche", "blancs", "blanches"),),
}
# Words before the noun, and phrases after it.
ENGLISH_PATTERNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain": (("plain", "solid", "plain"), ("without a pattern", "in one colour")),
    "striped": (("striped", "stripy"), ("with stripes", "with a striped pattern")),
    "dotted": (("dotted", "spotted", "polka dot"), ("with dots", "with polka dots")),
    "checked": (("checked", "chequered", "checkered", "plaid"), ("with checks", "with a check pattern")),
}
# Adjectives with their four forms, and phrases.
FRENCH_PATTERNS: dict[str, tuple[tuple[tuple[str, str, str, str], ...], tuple[str, ...]]] = {
    "plain": ((("uni", "unie", "unis", "unies"),), ("sans motif",)),
    "striped": ((("rayé", "rayée", "rayés", "rayées"),), ("à rayures", "avec des rayures")),
    "dotted": ((), ("à pois", "avec des pois", "à petits pois")),
    "checked": ((), ("à carreaux", "avec des carreaux")),
}
ENGLISH_FRAMES = (
    "{}", "{}", "{}", "a {}", "the {}", "photo of a {}", "a picture of a {}", "{} for sale", "buy a {}",
    "a nice {}", "{} online", "cheap {}", "an image of one {}",
)  # fmt: skip
FRENCH_FRAMES = (
    "{}", "{}", "{}", "{un} {}", "{la} {}", "photo d'{un} {}", "acheter {un} {}", "une image de {}",
    "{} pas cher", "{un} {} en vente",
)  # fmt: skip
# Words that say nothing of the object: they teach the text tower to look past what it does not know.
ENGLISH_FILLER = """
    looking show find want need please new best gift home kitchen garden quality classic modern small
    large soft light handmade cotton ceramic leather wood metal warm day summer winter friend mother
    kids school office travel design simple beautiful original delivery free offer price box set colour
    some any with for my our your me i am we of in and the to something like would could where can get
    have made great perfect workshop guarantee season customer favourite water morning room table living
    bedroom birthday wedding
""".split()  # noqa: SIM905 (a list of quoted words would fill pages)
FRENCH_FILLER = """
    cherche montre trouver veux besoin nouveau cadeau maison cuisine jardin qualité classique moderne
    petit grand doux léger fait main coton céramique cuir bois métal chaud jour été hiver ami mère
    enfants école bureau voyage design simple beau original livraison offre prix boîte couleur avec pour
    mon notre votre je nous vous il y a quelque chose comme où puis avoir belle parfait atelier saison
    client eau matin salon chambre anniversaire mariage de du des et le la les un une en dans sur qui
    est très plus bien tout
""".split()  # noqa: SIM905 (a list of quoted words would fill pages)


@dataclass(frozen=True, slots=True)
class Look:
    """What a text says or a picture shows. ``None`` is left unsaid, and matches everything."""

    kind: str | None
    colour: str | None
    pattern: str | None

    def codes(self) -> tuple[int, int, int]:
        """Return the look as numbers, -1 for what is unsaid."""
        places = ((KINDS, self.kind), (tuple(COLOURS), self.colour), (PATTERNS, self.pattern))
        codes = [-1 if value is None else values.index(value) for values, value in places]
        return codes[0], codes[1], codes[2]


def join(*words: str) -> str:
    return " ".join(filter(None, words))


def english(look: Look, rng: random.Random) -> str:
    """Say a look in English: "a red mug with stripes"."""
    noun = (
        rng.choice(ENGLISH_NOUNS[look.kind])
        if look.kind
        else rng.choice(("", "thing", "something", "object"))
    )
    if look.kind and rng.random() < 0.2 and not noun.endswith("s"):
        noun += "es" if noun.endswith("ch") else "s"
    colour = rng.choice(ENGLISH_COLOURS[look.colour]) if look.colour else ""
    before = after = ""
    if look.pattern:
        words, phrases = ENGLISH_PATTERNS[look.pattern]
        before, after = (rng.choice(words), "") if rng.random() < 0.5 else ("", rng.choice(phrases))
    form = rng.random()
    if form < 0.65 or not look.kind:
        phrase = (
            join(before, colour, noun, after) if rng.random() < 0.4 else join(colour, before, noun, after)
        )
    elif form < 0.85:
        phrase = join(noun, colour, before, after)
    else:
        phrase = join(before, noun, f"in {colour}" if colour else "", after)
    return rng.choice(ENGLISH_FRAMES).format(phrase)


def french(look: Look, rng: random.Random) -> str:
    """Say a look in French, with agreement: "une tasse verte à rayures", "des coussins rayés"."""
    if look.kind:
        noun, feminine, plural = rng.choice(FRENCH_NOUNS[look.kind])
    else:
        noun, feminine, plural = rng.choice(
            (("", False, ""), ("chose", True, "choses"), ("objet", False, "objets"))
        )
    many = rng.random() < 0.2
    form = 2 * many + feminine
    colour = rng.choice(FRENCH_COLOURS[look.colour])[form] if look.colour else ""
    after = ""
    if look.pattern:
        adjectives, phrases = FRENCH_PATTERNS[look.pattern]
        choices = [*(a[form] for a in adjectives), *phrases]
        after = rng.choice(choices)
    words = [plural if many else noun, colour, after]
    if rng.random() < 0.15:
        words = [words[0], after, colour]
    un = "des" if many else ("une" if feminine else "un")
    la = "les" if many else ("la" if feminine else "le")
    return rng.choice(FRENCH_FRAMES).format(join(*words), un=un, la=la)


def gibberish(rng: random.Random) -> str:
    """Return a word nobody has seen, so that unknown words come to mean nothing."""
    return "".join(rng.choice("bcdfglmnprstv") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))


def filler(words: Sequence[str], rng: random.Random, most: int) -> str:
    count = rng.randint(0, most)
    return join(*(gibberish(rng) if rng.random() < 0.15 else rng.choice(words) for _ in range(count)))


def mistyped(text: str, rng: random.Random) -> str:
    """Return the text with one slip of the finger in a longer word: swapped, lost or doubled."""
    words = text.split()
    long = [i for i, word in enumerate(words) if len(word) >= 4]
    if not long:
        return text
    i = rng.choice(long)
    word, at, slip = words[i], rng.randint(1, len(words[i]) - 2), rng.random()
    if slip < 0.4:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif slip < 0.75:
        word = word[:at] + word[at + 1 :]
    else:
        word = word[:at] + word[at] + word[at:]
    words[i] = word
    return " ".join(words)


def query(look: Look, rng: random.Random, language: str | None = None) -> str:
    """Return what a customer might type for a look, in one of the two languages."""
    in_french = language == "fr" if language else rng.random() < 0.5
    text = french(look, rng) if in_french else english(look, rng)
    if rng.random() < 0.4:
        words = FRENCH_FILLER if in_french else ENGLISH_FILLER
        text = join(filler(words, rng, 4), text, filler(words, rng, 3))
    return mistyped(text, rng) if rng.random() < 0.1 else text


def document(look: Look, rng: random.Random) -> str:
    """Return what a shop might write about a look it sells: a product's name, its description, or both."""
    assert look.kind and look.colour and look.pattern  # noqa: S101 (a picture always shows all three)
    if rng.random() < 0.3:
        tongue, words = rng.choice(((english, ENGLISH_FILLER), (french, FRENCH_FILLER)))
        return join(filler(words, rng, 3), tongue(look, rng), filler(words, rng, 8))
    name, description = product_texts(look.kind, look.colour, look.pattern, rng)
    if rng.random() < 0.3:
        name = join(gibberish(rng).title(), *name.split()[1:])
    return rng.choice((name, name, f"{name}. {description}", description))


def partly(look: Look, rng: random.Random) -> Look:
    """Leave some of a look unsaid, as queries do."""
    draw = rng.random()
    pattern = look.pattern if rng.random() < (0.2 if look.pattern == "plain" else 0.5) else None
    if draw < 0.78:
        return Look(look.kind, look.colour, pattern)
    if draw < 0.92:
        return Look(look.kind, None, pattern)
    return Look(None, look.colour, pattern)


# --- pictures -----------------------------------------------------------------------------------------

# Hue in degrees, saturation, value: what still goes by the colour's name.
COLOUR_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-9, 7), (0.7, 1.0), (0.62, 0.97)),
    "orange": ((20, 34), (0.75, 1.0), (0.86, 1.0)),
    "yellow": ((44, 57), (0.6, 1.0), (0.88, 1.0)),
    "green": ((90, 152), (0.4, 0.9), (0.36, 0.82)),
    "turquoise": ((167, 187), (0.5, 0.95), (0.6, 0.92)),
    "blue": ((205, 234), (0.55, 0.95), (0.45, 0.95)),
    "purple": ((262, 291), (0.4, 0.85), (0.4, 0.82)),
    "pink": ((320, 348), (0.3, 0.62), (0.9, 1.0)),
    "brown": ((14, 32), (0.45, 0.75), (0.26, 0.54)),
    "black": ((0, 360), (0.0, 0.16), (0.04, 0.2)),
    "grey": ((0, 360), (0.0, 0.1), (0.42, 0.68)),
    "white": ((0, 360), (0.0, 0.05), (0.93, 1.0)),
}


def from_hsv(hue: float, saturation: float, value: float) -> RGB:
    r, g, b = colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value)
    return round(255 * r), round(255 * g), round(255 * b)


def varied_paint(colour: str, rng: random.Random) -> RGB:
    return from_hsv(*(rng.uniform(*span) for span in COLOUR_RANGES[colour]))


def varied_backdrop(paint: RGB, rng: random.Random) -> tuple[RGB, RGB]:
    """Return a background: often a pale one, sometimes of any colour, never one that hides the object."""
    for _ in range(20):
        draw, hue = rng.random(), rng.uniform(0, 360)
        if draw < 0.2:
            return rng.choice(BACKDROPS)
        if draw < 0.6:
            top = from_hsv(hue, rng.uniform(0, 0.2), rng.uniform(0.78, 1))
        elif draw < 0.85:
            top = from_hsv(hue, rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.95))
        else:
            top = from_hsv(hue, rng.uniform(0, 0.5), rng.uniform(0.05, 0.4))
        if sum(abs(a - b) for a, b in zip(top, paint, strict=True)) > 120:
            factor = rng.uniform(0.8, 1.05)
            bottom = top if rng.random() < 0.4 else tuple(min(255, round(c * factor)) for c in top)
            return top, bottom  # type: ignore[return-value]
    return BACKDROPS[0]


def varied_look(colour: str, rng: random.Random) -> tuple[Pose, Style]:
    """Return a pose and a style far from the shop's studio, so that objects are learned, not drawings."""
    pose = Pose(
        rotation=rng.gauss(0, 7),
        scale=rng.uniform(0.68, 1.12),
        offset=(rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)),
        flip=rng.random() < 0.5,
        squeeze=rng.uniform(0.82, 1.2),
        shear=rng.gauss(0, 0.06),
    )
    paint = varied_paint(colour, rng)
    other = rng.choice((None, None, (255, 255, 255), from_hsv(0, 0, rng.random()), None))
    visible = other and sum(abs(a - b) for a, b in zip(other, paint, strict=True)) > 200
    style = Style(
        shading=rng.choice((0.0, 0.0, 0.5, 1.0, 1.3)),
        outline=rng.choice((0.0, 0.0, 0.012, 0.03, 0.05)),
        edge=rng.choice((0.05, 0.4, 0.72)),
        shadow=rng.choice((0.0, 0.0, 0.5, 1.0)),
        freedom=rng.uniform(0.3, 1.7),
        wobble=rng.choice((0.0, 0.02, 0.05, 0.08)),
        contrast=rng.uniform(0.2, 1.3),
        backdrop=varied_backdrop(paint, rng),
        paint=paint,
        second=other if visible else None,
        light_from_left=rng.random() < 0.5,
    )
    return pose, style


def training_picture(task: tuple[Look, int]) -> npt.NDArray[np.uint8]:
    """Draw one training picture: uint8 (72, 72, 3). A few are drawn just as the shop draws them."""
    look, seed = task
    assert look.kind and look.colour and look.pattern  # noqa: S101
    rng = random.Random(seed)
    if rng.random() < 0.12:
        picture = render(look.kind, look.colour, look.pattern, size=SIDE, seed=seed)
    else:
        pose, style = varied_look(look.colour, rng)
        picture = render(look.kind, look.colour, look.pattern, size=SIDE, seed=seed, pose=pose, style=style)
    return np.asarray(picture)


def training_set(count: int, seed: int, workers: int) -> tuple[list[Look], torch.Tensor]:
    """Return what ``count`` pictures show and the pictures: uint8 (count, 3, 72, 72)."""
    rng = random.Random(seed)
    shares = ("plain", "plain", "striped", "dotted", "checked")
    looks = [Look(rng.choice(KINDS), rng.choice(list(COLOURS)), rng.choice(shares)) for _ in range(count)]
    tasks = [(look, seed * 1_000_003 + i) for i, look in enumerate(looks)]
    # Forked before torch has started threads; each picture has its own seed, so the split does not matter.
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pictures = pool.map(training_picture, tasks, chunksize=64)
    return looks, torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def augmented(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return pictures as float32 in 0 to 1 with a little noise, brightness and blur."""
    batch = pictures.float() / 255
    count = len(batch)
    gain = 1 + 0.08 * torch.randn(count, 1, 1, 1, generator=generator)
    soft = functional.avg_pool2d(functional.pad(batch, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    amount = torch.rand(count, 1, 1, 1, generator=generator).sub(0.6).clamp(min=0) * 2
    batch = (batch + (soft - batch) * amount) * gain
    return (batch + 0.015 * torch.randn(batch.shape, generator=generator)).clamp(0, 1)


# --- the model ----------------------------------------------------------------------------------------


def build_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer: no case, no accents, no punctuation, and no word it cannot spell."""
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
        vocab_size=VOCABULARY,
        # EOS must not be number 2: transformers takes that for an old CLIP and pools the largest token.
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
    """Return the untrained model; its size is what 4 MB of float32 leave room for."""
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
        "image_size": SIDE,
        "patch_size": PATCH,
        # Several times as fast to train as quick_gelu, which torch does not fuse on the CPU.
        "hidden_act": "relu",
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIMENSIONS))
    positions = grid_positions(SIDE // PATCH, model.config.vision_config.hidden_size)
    model.vision_model.embeddings.position_embedding.weight.data[1:] = positions
    return model


def grid_positions(side: int, dim: int) -> torch.Tensor:
    """Return the first position embeddings of a picture's patches: float32 (side², dim), sines and cosines.

    CLIP starts them as faint noise; told where its patches lie, a small vision tower learns shapes in fewer
    steps (Beyer et al., 2022, "Better plain ViT baselines for ImageNet-1k").
    """
    rates = torch.exp(-torch.arange(dim // 4) / (dim // 4) * math.log(50))
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.reshape(-1, 1) * rates for axis in (columns, rows)]
    return 0.5 * torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def build_image_processor() -> CLIPImageProcessor:
    side = {"height": SIDE, "width": SIDE}
    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=side)


# --- training -----------------------------------------------------------------------------------------


def matches(said: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Return bool (n, m): does text i (n, 3 codes, -1 unsaid) fit look j (m, 3 codes)?"""
    rows, columns = said[:, None, :], shown[None, :, :]
    return ((rows == columns) | (rows == -1)).all(dim=-1)


def contrast(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Return the symmetric contrastive loss with several right answers a row.

    Supervised contrastive learning (Khosla et al., 2020, L_out): "a mug" fits every mug of the batch.
    """
    total = logits.new_zeros(())
    for scores, right in ((logits, positive), (logits.T, positive.T)):
        weight = right / right.sum(dim=1, keepdim=True).clamp(min=1)
        total = total - (weight * functional.log_softmax(scores, dim=1)).sum(dim=1).mean()
    return total / 2


class Trainer:
    """Holds what one training run shares between its steps."""

    def __init__(self, model: CLIPModel, tokenizer: PreTrainedTokenizerFast, steps: int, seed: int) -> None:
        self.model, self.tokenizer, self.steps = model, tokenizer, steps
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        processor = build_image_processor()
        self.mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
        self.std = torch.tensor(processor.image_std).view(1, 3, 1, 1)
        # Only for training: naming kind, colour and pattern outright teaches the vision tower before the
        # text tower has learned its words.
        width = model.config.vision_config.hidden_size
        self.heads = torch.nn.ModuleList(
            torch.nn.Linear(width, classes) for classes in (len(KINDS), len(COLOURS), len(PATTERNS))
        )
        self.weights = [*model.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=LEARNING_RATE, weight_decay=0.05, betas=(0.9, 0.98)
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.rate)

    def rate(self, step: int) -> float:
        """Return the share of the learning rate: a short warm-up, then a cosine to zero."""
        warm = max(1, self.steps // 20)
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))

    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        """Return unit vectors (n, dim), from the text tower alone."""
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        hidden = self.model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return functional.normalize(self.model.text_projection(hidden.pooler_output), dim=-1)

    def see(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the vision tower's pooled output (n, width), before the projection."""
        return self.model.vision_model(pixel_values=(pictures - self.mean) / self.std).pooler_output

    def step(self, looks: list[Look], pictures: torch.Tensor) -> float:
        """Learn from one batch of looks and their pictures; return the loss."""
        loss = self.loss(looks, augmented(pictures, self.generator))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.schedule.step()
        # As in CLIP, the temperature is learned but kept from running away.
        self.model.logit_scale.data.clamp_(0, math.log(50))
        return float(loss.detach())

    def loss(self, looks: list[Look], pictures: torch.Tensor) -> torch.Tensor:
        """Queries find pictures and documents, documents find pictures, pictures name what they show."""
        asked = [partly(look, self.rng) for look in looks]
        half = len(looks) // 2  # documents are long and learned early: half as many of them will do
        queries = self.embed_texts([query(look, self.rng) for look in asked])
        documents = self.embed_texts([document(look, self.rng) for look in looks[:half]])
        seen = self.see(pictures)
        images = functional.normalize(self.model.visual_projection(seen), dim=-1)
        said = torch.tensor([look.codes() for look in asked])
        shown = torch.tensor([look.codes() for look in looks])
        fit, same, scale = matches(said, shown), matches(shown, shown), self.model.logit_scale.exp()
        loss = contrast(scale * queries @ images.T, fit)
        loss = loss + contrast(scale * queries @ documents.T, fit[:, :half])
        loss = loss + 0.5 * contrast(scale * documents @ images.T, same[:half])
        named = [functional.cross_entropy(head(seen), shown[:, i]) for i, head in enumerate(self.heads)]
        return loss + sum(named, loss.new_zeros(()))


def train(trainer: Trainer, looks: list[Look], pictures: torch.Tensor) -> None:
    """Run the training steps, in epochs of shuffled batches."""
    trainer.model.train()
    order: list[int] = []
    started = time.perf_counter()
    for step in range(trainer.steps):
        if len(order) < BATCH:
            order = torch.randperm(len(looks), generator=trainer.generator).tolist()
        batch, order = order[:BATCH], order[BATCH:]
        loss = trainer.step([looks[i] for i in batch], pictures[batch])
        if step % 50 == 0 or step == trainer.steps - 1:
            print(f"step {step:5d}  loss {loss:.3f}  {time.perf_counter() - started:.0f} s", flush=True)


# --- saving and measuring -----------------------------------------------------------------------------


def save(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, output: Path) -> None:
    """Write the folder in sentence-transformers' format. Raises ``SystemExit`` above 4 MB."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        CLIPProcessor(build_image_processor(), tokenizer).save_pretrained(folder)
        wrapped = SentenceTransformer(folder, device="cpu")
    shutil.rmtree(output, ignore_errors=True)
    wrapped.save(str(output), create_model_card=False)
    for path in output.iterdir():
        path.chmod(0o644)  # safetensors writes its file for the owner only
    size = folder_bytes(output)
    if size > MAX_BYTES:
        raise SystemExit(f"{output} has {size} bytes, more than {MAX_BYTES}: make the towers smaller.")


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(output: Path, seed: int) -> dict[str, float]:
    """Return retrieval figures of the saved model, over one unseen picture of every kind and colour.

    Queries are fresh ones from the training grammar. ``hit@10`` is the share of queries that have the right
    kind and colour among the first ten, ``first`` that have it in the first place.
    """
    model = SentenceTransformer(str(output), device="cpu")
    looks = [Look(kind, colour, None) for kind in KINDS for colour in COLOURS]
    pictures = [render(look.kind or "", look.colour or "", size=128, seed=900_000 + seed) for look in looks]
    gallery = model.encode(pictures, normalize_embeddings=True, batch_size=64)
    figures: dict[str, float] = {}
    for language in ("en", "fr"):
        rng = random.Random(f"{language}/{seed}/measure")
        texts = [{"text": query(look, rng, language)} for look in looks]
        ranks = np.argsort(-model.encode(texts, normalize_embeddings=True) @ gallery.T, axis=1)
        places = np.argmax(ranks == np.arange(len(looks))[:, None], axis=1)
        figures[f"{language}_hit@10"] = round(float((places < 10).mean()), 4)
        figures[f"{language}_first"] = round(float((places == 0).mean()), 4)
    return figures


def tokenizer_texts(seed: int) -> list[str]:
    """Return what the tokenizer learns its pieces from: queries and documents as training sees them."""
    rng = random.Random(seed)
    looks = [Look(rng.choice(KINDS), rng.choice(list(COLOURS)), rng.choice(PATTERNS)) for _ in range(12_000)]
    return [rng.choice((query, document))(look, rng) for look in looks]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(
            "Train the demo shop's small CLIP (English and French, at most 4 MB) from scratch on rendered "
            "pictures and save it as a folder for sentence-transformers. Takes minutes on two CPU cores."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write; it is replaced")
    parser.add_argument("--steps", type=int, default=1700, help=f"training steps of {BATCH} pictures")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="training pictures to draw")
    parser.add_argument("--seed", type=int, default=7, help="seed of pictures, captions and weights")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    started, workers = time.perf_counter(), len(os.sched_getaffinity(0))
    looks, pictures = training_set(options.pictures, options.seed, workers)
    print(f"drew {len(looks)} pictures in {time.perf_counter() - started:.0f} s", flush=True)
    torch.set_num_threads(workers)
    torch.manual_seed(options.seed)
    tokenizer = build_tokenizer(tokenizer_texts(options.seed))
    model = build_model(tokenizer)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {len(tokenizer)} tokens", flush=True)
    train(Trainer(model, tokenizer, options.steps, options.seed), looks, pictures)
    save(model.eval(), tokenizer, options.output)
    seconds = round(time.perf_counter() - started)
    figures = {
        **measure(options.output, options.seed),
        "parameters": parameters,
        "pictures": options.pictures,
        "steps": options.steps,
        "seed": options.seed,
        "seconds": seconds,
        "cpu_seconds": round(sum(os.times()[:4])),
        "threads": workers,
    }
    (options.output / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
