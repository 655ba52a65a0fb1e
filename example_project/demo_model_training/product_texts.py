"""What the products of the demo say: their names and descriptions, put together from phrases at random."""

from __future__ import annotations

import random
from dataclasses import dataclass

SERIES = (
    "Lisbon", "Juniper", "Harbour", "Marlow", "Oslo", "Clementine", "Tilda", "Bergen", "Willow", "Sienna",
    "Alba", "Cleo", "Dune", "Ferris", "Ginkgo", "Hazel", "Isla", "Kyoto", "Linden", "Maple", "Nara", "Otis",
    "Petra", "Quill", "Rowan", "Sorrel", "Tansy", "Umbria", "Verona", "Wren", "Yarrow", "Zephyr",
)  # fmt: skip
PATTERN_WORDS = {"plain": "", "striped": "striped", "dotted": "dotted", "checked": "checked"}
PATTERN_PHRASES = {
    "plain": "in plain {colour}",
    "striped": "in {colour} with stripes",
    "dotted": "in {colour} with polka dots",
    "checked": "in a {colour} check",
}
LAST_SENTENCES = (
    "Made in small batches and packed without plastic.",
    "A present that always fits.",
    "Ready to ship from our own workshop.",
    "One of our customers' favourites.",
    "Designed to be used every day for years.",
    "New this season.",
    "Comes with a two-year guarantee.",
    "",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """The nouns for one kind of product, and the first sentences of its descriptions.

    `{look}` stands for the colour and the pattern, such as "in red with stripes".
    """

    nouns: tuple[str, ...]
    first_sentences: tuple[str, ...]


PHRASES: dict[str, Phrases] = {
    "mug": Phrases(
        nouns=("mug", "coffee mug", "mug", "cup"),
        first_sentences=(
            "A generous stoneware mug {look} that keeps the first coffee of the day warm.",
            "Hand-glazed {look}, this cup sits well in the hand and goes into the dishwasher.",
        ),
    ),
    "teapot": Phrases(
        nouns=("teapot",),
        first_sentences=(
            "A teapot {look} for four, with a spout that does not drip.",
            "Porcelain {look}, with a lid that stays on while you pour the tea.",
        ),
    ),
    "bottle": Phrases(
        nouns=("bottle", "water bottle"),
        first_sentences=(
            "A bottle {look} that keeps water cool from breakfast to the last train.",
            "Leak-proof and light: a drinking bottle {look} for the office and the trail.",
        ),
    ),
    "vase": Phrases(
        nouns=("vase", "flower vase"),
        first_sentences=(
            "A vase {look}, thrown on the wheel, for a single stem or a whole bunch of flowers.",
            "Glazed {look}, this vase brightens the windowsill even when it is empty.",
        ),
    ),
    "t-shirt": Phrases(
        nouns=("t-shirt", "tee", "t-shirt"),
        first_sentences=(
            "A t-shirt {look}, cut straight from soft organic cotton.",
            "The tee you reach for first: {look}, with a neckline that keeps its shape.",
        ),
    ),
    "dress": Phrases(
        nouns=("dress", "summer dress"),
        first_sentences=(
            "A dress {look} with a fitted waist and a skirt that swings.",
            "Light viscose {look}: a summer dress for gardens, terraces and late evenings.",
        ),
    ),
    "hat": Phrases(
        nouns=("hat",),
        first_sentences=(
            "A hat {look} that holds its shape in the suitcase and in the wind.",
            "Shade for sunny days: a hat {look} with a soft inner band.",
        ),
    ),
    "shoe": Phrases(
        nouns=("shoe", "sneaker", "shoe"),
        first_sentences=(
            "A shoe {look} with a cushioned sole for long days in town.",
            "Canvas {look}, laces that stay tied: a sneaker that goes with everything.",
        ),
    ),
    "backpack": Phrases(
        nouns=("backpack", "rucksack", "backpack"),
        first_sentences=(
            "A backpack {look} with room for a laptop, a lunch and a jumper.",
            "Water-repellent {look}, padded straps: a rucksack for school and weekends.",
        ),
    ),
    "handbag": Phrases(
        nouns=("handbag", "purse", "handbag"),
        first_sentences=(
            "A handbag {look} with a magnetic clasp and one pocket for keys.",
            "Compact outside and roomy inside: a handbag {look} for every day.",
        ),
    ),
    "umbrella": Phrases(
        nouns=("umbrella",),
        first_sentences=(
            "An umbrella {look} that shrugs off gusts and opens at one touch.",
            "Rain becomes a pleasure under this umbrella {look}, with eight fibreglass ribs.",
        ),
    ),
    "lamp": Phrases(
        nouns=("lamp", "table lamp"),
        first_sentences=(
            "A table lamp {look} that fills the corner with warm light.",
            "With its shade {look}, this lamp is good company for a book.",
        ),
    ),
    "chair": Phrases(
        nouns=("chair", "dining chair"),
        first_sentences=(
            "A chair {look} with a seat made for long dinners.",
            "Sturdy and light to lift, this chair comes {look}.",
        ),
    ),
    "sofa": Phrases(
        nouns=("sofa", "couch", "sofa"),
        first_sentences=(
            "A sofa {look}, deep enough for an afternoon nap.",
            "Removable covers {look} and feather cushions: a couch for the whole family.",
        ),
    ),
    "clock": Phrases(
        nouns=("clock", "wall clock"),
        first_sentences=(
            "A clock {look} with a movement so quiet that you forget the time.",
            "Easy to read from across the room: a wall clock with its rim {look}.",
        ),
    ),
    "cushion": Phrases(
        nouns=("cushion", "pillow", "cushion"),
        first_sentences=(
            "A cushion {look} that makes any seat a favourite one.",
            "Soft linen {look}, with a hidden zip: a cushion to lean on.",
        ),
    ),
    "guitar": Phrases(
        nouns=("guitar", "acoustic guitar"),
        first_sentences=(
            "A guitar {look} with a warm voice and an easy neck.",
            "For campfires and first songs: a guitar {look} that stays in tune.",
        ),
    ),
    "headphones": Phrases(
        nouns=("headphones",),
        first_sentences=(
            "Headphones {look} that leave the noise of the street outside.",
            "Thirty hours on one charge: headphones {look} with soft ear pads.",
        ),
    ),
}


def product_texts(kind: str, colour: str, pattern: str, rng: random.Random) -> tuple[str, str]:
    """Return a name and a description; `rng` chooses the phrases."""
    phrases = PHRASES[kind]
    words = [rng.choice(SERIES), colour, PATTERN_WORDS[pattern], rng.choice(phrases.nouns)]
    look = PATTERN_PHRASES[pattern].format(colour=colour)
    first = rng.choice(phrases.first_sentences).format(look=look)
    return " ".join(filter(None, words)), f"{first} {rng.choice(LAST_SENTENCES)}".strip()
