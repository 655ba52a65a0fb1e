"""The words of the catalogue: what each attribute may be, in English and in French.

Attributes have English values. Brands and series are invented and the same in both languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.samples.heldout_captions import COLOURS, ENGLISH_NOUNS, FRENCH_COLOURS, FRENCH_NOUNS

ENGLISH, FRENCH = "en", "fr"
LANGUAGES = (ENGLISH, FRENCH)
KINDS = tuple(ENGLISH_NOUNS)

BRANDS: Mapping[str, tuple[str, str]] = {
    "Velmora": ("Haldin", "Jorvesk"),
    "Quorvik": ("Aldenne", "Mirtoss"),
    "Tessaro": ("Borvane", "Kestimo"),
    "Hjelmby": ("Dorneck", "Lorindel"),
    "Drevanto": ("Elvise", "Marvask"),
    "Kaldoris": ("Fjordal", "Nolwenna"),
    "Mirenza": ("Galtorp", "Obrinu"),
    "Fenwyck": ("Isquelle", "Pascorel"),
    "Zorbelle": ("Rovaska", "Quintur"),
    "Ondrava": ("Selmique", "Thurgaal"),
    "Pelliko": ("Ulvaro", "Vestrine"),
    "Grauvind": ("Wolmarin", "Xandrelo"),
    "Tirsana": ("Ysoltra", "Zephrinn"),
    "Wexholm": ("Arvedou", "Brinovka"),
    "Yalvora": ("Cyprelle", "Delmount"),
    "Skarnheim": ("Estrabo", "Felgwyn"),
    "Orla Brandt": ("Gorlune", "Hestovik"),
    "North Lantern": ("Irvequil", "Jalmonde"),
    "Quiet Mill": ("Kormundo", "Lavenko"),
    "Otto Velde": ("Mondreux", "Nervatti"),
    "Maison Corvel": ("Olmeduc", "Pirvasco"),
    "Little Anchor": ("Rhodwen", "Sulmetto"),
    "Rue Taline": ("Tarquomo", "Umbrisco"),
    "Casa Imbria": ("Varnquist", "Wiskelo"),
    "Hollow Pine": ("Xermond", "Yquarrel"),
    "Tall Ferry": ("Zundrig", "Aquistra"),
}
"""Every brand with its series. Some brands are two words, and some of those are everyday words."""

MATERIALS: Mapping[str, tuple[str, ...]] = {
    "mug": ("stoneware", "porcelain", "enamel", "bamboo"),
    "teapot": ("porcelain", "glass", "cast iron", "stoneware"),
    "bottle": ("steel", "glass", "aluminium", "titanium"),
    "vase": ("glass", "concrete", "marble", "brass"),
    "t-shirt": ("cotton", "linen", "merino", "hemp"),
    "dress": ("silk", "viscose", "linen", "denim"),
    "hat": ("felt", "straw", "wool", "tweed"),
    "shoe": ("suede", "leather", "canvas", "rubber"),
    "backpack": ("canvas", "nylon", "leather", "polyester"),
    "handbag": ("leather", "cork", "velvet", "suede"),
    "umbrella": ("nylon", "polyester", "bamboo", "carbon"),
    "lamp": ("brass", "oak", "concrete", "rattan"),
    "chair": ("beech", "walnut", "oak", "rattan"),
    "sofa": ("velvet", "leather", "linen", "chenille"),
    "clock": ("walnut", "slate", "steel", "cork"),
    "cushion": ("linen", "velvet", "wool", "jute"),
    "guitar": ("spruce", "cedar", "mahogany", "maple"),
    "headphones": ("aluminium", "walnut", "leather", "titanium"),
}
SIZES: Mapping[str, tuple[str, ...]] = {
    "mug": ("250 ml", "330 ml", "450 ml"),
    "teapot": ("0.8 l", "1.2 l", "1.5 l"),
    "bottle": ("500 ml", "750 ml", "1 l"),
    "vase": ("18 cm", "24 cm", "32 cm"),
    "t-shirt": ("XS", "XL", "XXL"),
    "dress": ("EU 36", "EU 40", "EU 44"),
    "hat": ("55 cm", "57.5 cm", "59 cm"),
    "shoe": ("EU 38", "EU 42.5", "EU 44"),
    "backpack": ("18 l", "22 l", "35 l"),
    "handbag": ("28 x 21 cm", "34 x 25 cm"),
    "umbrella": ('3/8"', '1/2"', '5/8"'),  # its shaft
    "lamp": ("E14", "E27", "GU10"),
    "chair": ("46 cm", "48.5 cm"),
    "sofa": ("185 cm", "210 cm", "245 cm"),
    "clock": ('10"', '12"', '14"'),
    "cushion": ("40 x 60 cm", "45 x 45 cm", "50 x 50 cm"),
    "guitar": ("3/4", "7/8", "4/4"),
    "headphones": ("2.5 mm", "3.5 mm", "6.35 mm"),
}
CATEGORIES: Mapping[str, str] = {
    "Camping": "Camping",
    "Home office": "Bureau à domicile",
    "Nursery": "Puériculture",
    "Wedding": "Mariage",
    "Travel": "Voyage",
    "Wellness": "Bien-être",
    "Festival": "Festival",
    "Yoga": "Yoga",
    "Picnic": "Pique-nique",
    "Allotment": "Potager",
    "Student flat": "Studio étudiant",
    "Gallery": "Galerie",
    "Bistro": "Bistrot",
    "Sailing": "Voile",
    "Skiing": "Ski",
    "Christmas": "Noël",
    "Halloween": "Halloween",
    "Easter": "Pâques",
    "Graduation": "Diplôme",
    "Housewarming": "Crémaillère",
    "Retirement": "Retraite",
    "Seaside": "Bord de mer",
}
"""Every category in English and French. They say what a product is for, so all kinds are in all of them."""
MOTIFS: Mapping[str, str] = {
    "otter": "loutre", "badger": "blaireau", "heron": "héron", "kingfisher": "martin-pêcheur",
    "hedgehog": "hérisson", "squirrel": "écureuil", "dolphin": "dauphin", "octopus": "poulpe",
    "seahorse": "hippocampe", "turtle": "tortue", "giraffe": "girafe", "elephant": "éléphant",
    "penguin": "manchot", "flamingo": "flamant", "pelican": "pélican", "falcon": "faucon",
    "swallow": "hirondelle", "butterfly": "papillon", "dragonfly": "libellule", "ladybird": "coccinelle",
    "beetle": "scarabée", "salamander": "salamandre", "gecko": "gecko", "lynx": "lynx", "bison": "bison",
    "reindeer": "renne", "hare": "lièvre", "fox": "renard", "sunflower": "tournesol", "poppy": "coquelicot",
    "thistle": "chardon", "dandelion": "pissenlit", "fern": "fougère", "mistletoe": "gui",
    "pomegranate": "grenade", "artichoke": "artichaut", "lighthouse": "phare", "windmill": "moulin",
    "compass": "boussole", "comet": "comète", "unicorn": "licorne", "mermaid": "sirène", "dragon": "dragon",
    "phoenix": "phénix",
}  # fmt: skip
"""The engraving that only the last sentence of a description names, in English and French."""
FRENCH_MATERIALS: Mapping[str, str] = {
    "stoneware": "grès", "porcelain": "porcelaine", "enamel": "émail", "bamboo": "bambou", "glass": "verre",
    "cast iron": "fonte", "steel": "acier", "aluminium": "aluminium", "titanium": "titane",
    "concrete": "béton", "marble": "marbre", "brass": "laiton", "cotton": "coton", "linen": "lin",
    "merino": "mérinos", "hemp": "chanvre", "silk": "soie", "viscose": "viscose", "denim": "denim",
    "felt": "feutre", "straw": "paille", "wool": "laine", "tweed": "tweed", "suede": "daim",
    "leather": "cuir", "canvas": "toile", "rubber": "caoutchouc", "nylon": "nylon",
    "polyester": "polyester", "cork": "liège", "velvet": "velours", "carbon": "carbone", "oak": "chêne",
    "rattan": "rotin", "beech": "hêtre", "walnut": "noyer", "chenille": "chenille", "slate": "ardoise",
    "jute": "jute", "spruce": "épicéa", "cedar": "cèdre", "mahogany": "acajou", "maple": "érable",
}  # fmt: skip
SYNONYMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    ENGLISH: {
        "mug": ("cup",),
        "bottle": ("flask",),
        "t-shirt": ("tee",),
        "dress": ("gown",),
        "shoe": ("sneaker",),
        "backpack": ("rucksack",),
        "handbag": ("purse",),
        "umbrella": ("brolly",),
        "sofa": ("couch", "settee"),
        "cushion": ("pillow",),
        "headphones": ("headset",),
    },
    FRENCH: {
        "mug": ("mug",),
        "bottle": ("gourde",),
        "t-shirt": ("tee-shirt",),
        "shoe": ("basket",),
        "backpack": ("cartable",),
        "handbag": ("sacoche",),
        "umbrella": ("ombrelle",),
        "sofa": ("sofa", "divan"),
        "clock": ("pendule",),
        "cushion": ("oreiller",),
    },
}
"""What shoppers call a kind and no text of the shop does."""


def say(attribute: str, value: str, language: str) -> str:
    """Return the value of an attribute as texts and queries in this language write it."""
    if attribute == "kind":
        return nouns(value, language)[0]
    if attribute == "size" and language == FRENCH:
        return value.replace(".", ",")
    in_french = {"material": FRENCH_MATERIALS, "category": CATEGORIES, "motif": MOTIFS}
    if attribute in in_french and language == FRENCH:
        return in_french[attribute][value]
    return value


def nouns(kind: str, language: str) -> tuple[str, str]:
    """Return the noun for a kind, and its plural."""
    return FRENCH_NOUNS[kind][:2] if language == FRENCH else ENGLISH_NOUNS[kind]


def with_colour(noun: str, kind: str, colour: str, language: str, *, plural: bool = False) -> str:
    """Return a noun with its colour: "red mug", "tasse verte"."""
    return " ".join(noun_and_colour(noun, kind, colour, language, plural=plural))


def noun_and_colour(
    noun: str, kind: str, colour: str, language: str, *, plural: bool = False
) -> tuple[str, str]:
    """Return a noun and its colour in the order of the language. A French colour agrees with the noun."""
    if language == ENGLISH:
        return colour, noun
    return noun, FRENCH_COLOURS[colour][2 * plural + FRENCH_NOUNS[kind][2]]


def is_feminine(kind: str) -> bool:
    """Return whether the French noun for a kind is feminine."""
    return FRENCH_NOUNS[kind][2]


def every_value() -> Mapping[str, Sequence[str]]:
    """Return all values of the attributes that have a name, but the kinds' sizes and the model numbers."""
    return {
        "kind": KINDS,
        "colour": COLOURS,
        "brand": tuple(BRANDS),
        "series": tuple(series for two in BRANDS.values() for series in two),
        "material": tuple(FRENCH_MATERIALS),
        "category": tuple(CATEGORIES),
        "motif": tuple(MOTIFS),
    }
