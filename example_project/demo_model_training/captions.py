"""The captions that the model is trained on: queries in English and French, and texts of products.

They are put together at random from the words below. A caption may leave attributes out, as queries do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .kinds import KINDS
from .product_texts import product_texts
from .rendering import COLOURS, PATTERNS

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
# Noun, whether it is feminine, plural.
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
# Masculine, feminine, masculine plural, feminine plural: a French adjective agrees with its noun.
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
# Adjectives before the noun, and phrases after it.
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
# Words that name no attribute: the model learns to ignore them.
ENGLISH_FILLERS = """
    looking show find want need please new best gift home kitchen garden quality classic modern small
    large soft light handmade cotton ceramic leather wood metal warm day summer winter friend mother
    kids school office travel design simple beautiful original delivery free offer price box set colour
    some any with for my our your me i am we of in and the to something like would could where can get
    have made great perfect workshop guarantee season customer favourite water morning room table living
    bedroom birthday wedding
""".split()  # noqa: SIM905 (a list of quoted words would fill pages)
FRENCH_FILLERS = """
    cherche montre trouver veux besoin nouveau cadeau maison cuisine jardin qualité classique moderne
    petit grand doux léger fait main coton céramique cuir bois métal chaud jour été hiver ami mère
    enfants école bureau voyage design simple beau original livraison offre prix boîte couleur avec pour
    mon notre votre je nous vous il y a quelque chose comme où puis avoir belle parfait atelier saison
    client eau matin salon chambre anniversaire mariage de du des et le la les un une en dans sur qui
    est très plus bien tout
""".split()  # noqa: SIM905 (a list of quoted words would fill pages)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a picture shows or a text names. None: the text does not name it, so it matches all values."""

    kind: str | None
    colour: str | None
    pattern: str | None

    def class_indices(self) -> tuple[int, int, int]:
        """Return the positions in `KINDS`, `COLOURS` and `PATTERNS`; -1 for None."""
        known = ((KINDS, self.kind), (tuple(COLOURS), self.colour), (PATTERNS, self.pattern))
        kind, colour, pattern = (-1 if value is None else values.index(value) for values, value in known)
        return kind, colour, pattern


def query(attributes: Attributes, rng: random.Random, language: str | None = None) -> str:
    """Return what a shopper might type, in "en" or "fr"; None chooses at random."""
    in_french = language == "fr" if language else rng.random() < 0.5
    text = french(attributes, rng) if in_french else english(attributes, rng)
    if rng.random() < 0.4:
        words = FRENCH_FILLERS if in_french else ENGLISH_FILLERS
        text = join(fillers(words, rng, 4), text, fillers(words, rng, 3))
    return with_typo(text, rng) if rng.random() < 0.1 else text


def document(attributes: Attributes, rng: random.Random) -> str:
    """Return what a shop might write about a product: its name, its description, or both."""
    assert attributes.kind and attributes.colour and attributes.pattern  # noqa: S101 (a picture shows all three)
    if rng.random() < 0.3:
        caption, words = rng.choice(((english, ENGLISH_FILLERS), (french, FRENCH_FILLERS)))
        return join(fillers(words, rng, 3), caption(attributes, rng), fillers(words, rng, 8))
    name, description = product_texts(attributes.kind, attributes.colour, attributes.pattern, rng)
    if rng.random() < 0.3:  # a series that the shop does not have
        name = join(nonsense_word(rng).title(), *name.split()[1:])
    return rng.choice((name, name, f"{name}. {description}", description))


def some_of(attributes: Attributes, rng: random.Random) -> Attributes:
    """Return the attributes with none, one or two left out, as queries do. The pattern is named least."""
    draw = rng.random()
    pattern = attributes.pattern if rng.random() < (0.2 if attributes.pattern == "plain" else 0.5) else None
    if draw < 0.78:
        return Attributes(attributes.kind, attributes.colour, pattern)
    if draw < 0.92:
        return Attributes(attributes.kind, None, pattern)
    return Attributes(None, attributes.colour, pattern)


def english(attributes: Attributes, rng: random.Random) -> str:
    """Return an English caption, such as "a red mug with stripes"."""
    noun = (
        rng.choice(ENGLISH_NOUNS[attributes.kind])
        if attributes.kind
        else rng.choice(("", "thing", "something", "object"))
    )
    if attributes.kind and rng.random() < 0.2 and not noun.endswith("s"):
        noun += "es" if noun.endswith("ch") else "s"
    colour = rng.choice(ENGLISH_COLOURS[attributes.colour]) if attributes.colour else ""
    before = after = ""
    if attributes.pattern:
        adjectives, phrases = ENGLISH_PATTERNS[attributes.pattern]
        before, after = (rng.choice(adjectives), "") if rng.random() < 0.5 else ("", rng.choice(phrases))
    order = rng.random()
    if order < 0.65 or not attributes.kind:
        words = (before, colour, noun, after) if rng.random() < 0.4 else (colour, before, noun, after)
    elif order < 0.85:
        words = (noun, colour, before, after)
    else:
        words = (before, noun, f"in {colour}" if colour else "", after)
    return rng.choice(ENGLISH_FRAMES).format(join(*words))


def french(attributes: Attributes, rng: random.Random) -> str:
    """Return a French caption with agreement, such as "une tasse verte à rayures"."""
    if attributes.kind:
        noun, is_feminine, plural = rng.choice(FRENCH_NOUNS[attributes.kind])
    else:
        noun, is_feminine, plural = rng.choice(
            (("", False, ""), ("chose", True, "choses"), ("objet", False, "objets"))
        )
    is_plural = rng.random() < 0.2
    form = 2 * is_plural + is_feminine
    colour = rng.choice(FRENCH_COLOURS[attributes.colour])[form] if attributes.colour else ""
    after = ""
    if attributes.pattern:
        adjectives, phrases = FRENCH_PATTERNS[attributes.pattern]
        after = rng.choice([*(adjective[form] for adjective in adjectives), *phrases])
    words = [plural if is_plural else noun, colour, after]
    if rng.random() < 0.15:
        words = [words[0], after, colour]
    un = "des" if is_plural else ("une" if is_feminine else "un")
    la = "les" if is_plural else ("la" if is_feminine else "le")
    return rng.choice(FRENCH_FRAMES).format(join(*words), un=un, la=la)


def fillers(words: Sequence[str], rng: random.Random, most: int) -> str:
    """Return up to `most` words that name no attribute; some of them are no words at all."""
    count = rng.randint(0, most)
    return join(*(nonsense_word(rng) if rng.random() < 0.15 else rng.choice(words) for _ in range(count)))


def nonsense_word(rng: random.Random) -> str:
    """Return a word that does not exist: the model learns to ignore unknown words."""
    return "".join(rng.choice("bcdfglmnprstv") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))


def with_typo(text: str, rng: random.Random) -> str:
    """Return the text with two letters swapped, or one lost or doubled, in a word of four letters or more."""
    words = text.split()
    long = [i for i, word in enumerate(words) if len(word) >= 4]
    if not long:
        return text
    i = rng.choice(long)
    word, at, typo = words[i], rng.randint(1, len(words[i]) - 2), rng.random()
    if typo < 0.4:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif typo < 0.75:
        word = word[:at] + word[at + 1 :]
    else:
        word = word[:at] + word[at] + word[at:]
    words[i] = word
    return " ".join(words)


def join(*words: str) -> str:
    """Join the words that are not empty with spaces."""
    return " ".join(filter(None, words))
