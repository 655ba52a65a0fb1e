"""Sentences that the demo model was not trained on, in English and French, with what they ask for.

The words are everyday ones and most of them occur in training; the sentences do not. Nothing is imported from
the training script on purpose, and the training script imports nothing from here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A query, and the kind and colour of the object that answers it."""

    text: str
    kind: str
    colour: str


COLOURS = (
    "red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "brown", "black", "grey",
    "white",
)  # fmt: skip
# English noun and its plural.
ENGLISH_NOUNS = {
    "mug": ("mug", "mugs"),
    "teapot": ("teapot", "teapots"),
    "bottle": ("bottle", "bottles"),
    "vase": ("vase", "vases"),
    "t-shirt": ("t-shirt", "t-shirts"),
    "dress": ("dress", "dresses"),
    "hat": ("hat", "hats"),
    "shoe": ("shoe", "shoes"),
    "backpack": ("backpack", "backpacks"),
    "handbag": ("handbag", "handbags"),
    "umbrella": ("umbrella", "umbrellas"),
    "lamp": ("lamp", "lamps"),
    "chair": ("chair", "chairs"),
    "sofa": ("sofa", "sofas"),
    "clock": ("clock", "clocks"),
    "cushion": ("cushion", "cushions"),
    "guitar": ("guitar", "guitars"),
    "headphones": ("headphones", "headphones"),
}
ENGLISH_SENTENCES = (
    "looking for a {noun} in {colour}",
    "Do you have any {colour} {plural}?",
    "show me {plural} that are {colour}",
    "is there a {noun} available in {colour}",
    "my daughter wants a {colour} {noun} for school",
    "The {noun} should be {colour}!",
    "{colour} coloured {plural}",
    "need one {noun}, preferably {colour}",
)
# French noun, its plural, and whether it is feminine.
FRENCH_NOUNS = {
    "mug": ("tasse", "tasses", True),
    "teapot": ("théière", "théières", True),
    "bottle": ("bouteille", "bouteilles", True),
    "vase": ("vase", "vases", False),
    "t-shirt": ("t-shirt", "t-shirts", False),
    "dress": ("robe", "robes", True),
    "hat": ("chapeau", "chapeaux", False),
    "shoe": ("chaussure", "chaussures", True),
    "backpack": ("sac à dos", "sacs à dos", False),
    "handbag": ("sac à main", "sacs à main", False),
    "umbrella": ("parapluie", "parapluies", False),
    "lamp": ("lampe", "lampes", True),
    "chair": ("chaise", "chaises", True),
    "sofa": ("canapé", "canapés", False),
    "clock": ("horloge", "horloges", True),
    "cushion": ("coussin", "coussins", False),
    "guitar": ("guitare", "guitares", True),
    "headphones": ("casque audio", "casques audio", False),
}
# Masculine, feminine, masculine plural, feminine plural.
FRENCH_COLOURS = {
    "red": ("rouge", "rouge", "rouges", "rouges"),
    "orange": ("orange", "orange", "orange", "orange"),
    "yellow": ("jaune", "jaune", "jaunes", "jaunes"),
    "green": ("vert", "verte", "verts", "vertes"),
    "turquoise": ("turquoise", "turquoise", "turquoise", "turquoise"),
    "blue": ("bleu", "bleue", "bleus", "bleues"),
    "purple": ("violet", "violette", "violets", "violettes"),
    "pink": ("rose", "rose", "roses", "roses"),
    "brown": ("marron", "marron", "marron", "marron"),
    "black": ("noir", "noire", "noirs", "noires"),
    "grey": ("gris", "grise", "gris", "grises"),
    "white": ("blanc", "blanche", "blancs", "blanches"),
}
FRENCH_SENTENCES = (
    "je cherche {un} {noun} de couleur {feminine}",
    "Avez-vous des {plural} {adjectives} ?",
    "montrez-moi vos {plural} {adjectives}",
    "existe-t-il {un} {noun} en {masculine}",
    "j'aimerais offrir {un} {noun} {adjective} à ma mère",
    "{noun} coloris {masculine}",
    "il me faut {un} {noun} plutôt {adjective}",
    "ou acheter {plain_noun} {adjective} pour l'ete",
)
WITHOUT_ACCENTS = str.maketrans("éèêàâîôûç", "eeeaaiouc")


def english() -> list[HeldOut]:
    """Return every sentence for every kind and colour."""
    return [
        HeldOut(text=sentence.format(noun=noun, plural=plural, colour=colour), kind=kind, colour=colour)
        for sentence in ENGLISH_SENTENCES
        for kind, (noun, plural) in ENGLISH_NOUNS.items()
        for colour in COLOURS
    ]


def in_french(sentence: str, kind: str, colour: str) -> str:
    """Return a sentence with its adjective agreeing in gender and number."""
    noun, plural, is_feminine = FRENCH_NOUNS[kind]
    forms = FRENCH_COLOURS[colour]
    return sentence.format(
        noun=noun,
        plain_noun=noun.translate(WITHOUT_ACCENTS),
        plural=plural,
        un="une" if is_feminine else "un",
        masculine=forms[0],
        feminine=forms[1],
        adjective=forms[is_feminine],
        adjectives=forms[2 + is_feminine],
    )


def french() -> list[HeldOut]:
    """Return every sentence for every kind and colour."""
    return [
        HeldOut(text=in_french(sentence, kind, colour), kind=kind, colour=colour)
        for sentence in FRENCH_SENTENCES
        for kind in FRENCH_NOUNS
        for colour in COLOURS
    ]
