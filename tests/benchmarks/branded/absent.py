"""Queries to which the shop has no answer: nonsense, and what other shops sell."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping

from rapidfuzz.distance import OSA

from tests.samples.heldout_captions import COLOURS, FRENCH_COLOURS

from .judgments import Query
from .words import BRANDS, ENGLISH, FRENCH, FRENCH_MATERIALS, say

NONSENSE, FOREIGN = "nonsense", "foreign"
COUNT = 200
MASHED = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "azertyuiop", "qsdfghjklm", "yxcvbnm")
"""Rows of keyboards."""

GOODS: Mapping[str, str] = {
    ENGLISH: """
        lawnmower, car insurance, dog food, winter tyres, washing machine, mortgage, aquarium, printer ink,
        toothpaste, garden hose, hamster cage, cordless drill, chainsaw, wheelbarrow, trampoline, kayak,
        bicycle, scooter, pram, piano, violin, trumpet, drum kit, microscope, telescope, binoculars, laptop,
        keyboard, router, webcam, smartphone, tablet, television, projector, dishwasher, fridge, freezer,
        oven, toaster, blender, vacuum cleaner, ladder, hammer, screwdriver, wrench, sandpaper, paintbrush,
        wallpaper, carpet, rug, curtain, mattress, wardrobe, bookcase, bathtub, toilet seat, tap, radiator,
        boiler, solar panel, candle, matches, perfume, shampoo, lipstick, nail varnish, razor, aspirin,
        plasters, vitamins, protein powder, dumbbell, treadmill, tennis racket, football, golf club,
        skateboard, surfboard, tent, sleeping bag, fishing rod, chess set, jigsaw puzzle, doll, teddy bear,
        novel, cookbook, dictionary, atlas, calendar, fountain pen, stapler, envelope, train ticket,
        concert ticket, hotel room, pizza, chocolate, coffee beans, olive oil
    """,
    FRENCH: """
        tondeuse, assurance auto, croquettes pour chien, pneus neige, lave-linge, prêt immobilier, aquarium,
        cartouche d'encre, dentifrice, tuyau d'arrosage, cage à hamster, perceuse, tronçonneuse, brouette,
        trampoline, kayak, vélo, trottinette, poussette, piano, violon, trompette, batterie, microscope,
        télescope, jumelles, ordinateur portable, clavier, routeur, webcam, téléviseur, tablette, imprimante,
        vidéoprojecteur, lave-vaisselle, réfrigérateur, congélateur, four, grille-pain, mixeur, aspirateur,
        échelle, marteau, tournevis, pinceau, papier peint, moquette, tapis, rideau, matelas, armoire,
        bibliothèque, baignoire, robinet, radiateur, chaudière, panneau solaire, ampoule, bougie, allumettes,
        parfum, shampoing, vernis à ongles, rasoir, aspirine, pansements, vitamines, protéines en poudre,
        haltères, tapis de course, raquette de tennis, ballon de football, club de golf, planche à roulettes,
        planche de surf, tente, sac de couchage, canne à pêche, échiquier, puzzle, poupée, ours en peluche,
        roman, livre de cuisine, dictionnaire, atlas, calendrier, stylo plume, cahier, agrafeuse, enveloppe,
        billet de train, place de concert, chambre d'hôtel, pizza, chocolat, café en grains, huile d'olive,
        miel, pantalon
    """,
}
"""100 things that the shop does not sell, in each language."""


def goods(language: str) -> list[str]:
    return [" ".join(thing.split()) for thing in GOODS[language].split(",")]


def nonsense(vocabulary: Collection[str], seed: int) -> list[Query]:
    """Return 200 queries of one or two words that nobody says.

    They are neither a typo in a word of `vocabulary` nor the beginning of one.
    """
    rng = random.Random(f"{seed} nonsense")
    found: dict[str, Query] = {}
    while len(found) < COUNT:
        text = " ".join(no_word(rng) for _ in range(rng.choice((1, 1, 2))))
        if not any(resembles(word, known) for word in text.split() for known in vocabulary):
            found[text] = Query(asked_by=NONSENSE, text=text, wanted={})
    return list(found.values())


def no_word(rng: random.Random) -> str:
    """Return neighbouring keys, syllables, or letters and digits."""
    draw = rng.random()
    if draw < 0.25:
        row = rng.choice(MASHED)
        start = rng.randrange(len(row) - 4)
        return row[start : start + rng.randint(4, 6)]
    if draw < 0.8:
        syllables = range(rng.randint(2, 4))
        return "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiouy") for _ in syllables)
    return "".join(rng.choice("bcdfghjkmnpqrstvwxz0123456789") for _ in range(rng.randint(5, 9)))


def resembles(word: str, known: str) -> bool:
    """Return whether `word` is the beginning of a known word, or one mistake away from it."""
    return known.startswith(word) or OSA.distance(word, known, score_cutoff=1) <= 1


def foreign(language: str, seed: int) -> list[Query]:
    """Return 100 things that the shop does not sell, and each once more with a word that the shop knows."""
    rng = random.Random(f"{seed} foreign")
    texts = goods(language)
    for number, thing in enumerate(goods(language)):
        word = known_word(number, language, rng)
        # A French colour or material follows what it describes.
        texts.append(f"{thing} {word}" if language == FRENCH else f"{word} {thing}")
    return [Query(asked_by=FOREIGN, text=text, wanted={}) for text in texts]


def known_word(number: int, language: str, rng: random.Random) -> str:
    """Return a colour, a brand or a material."""
    if number % 4 == 0:
        return rng.choice(tuple(BRANDS))
    if number % 4 == 1:
        return say("material", rng.choice(tuple(FRENCH_MATERIALS)), language)
    colour = rng.choice(COLOURS)
    return FRENCH_COLOURS[colour][0] if language == FRENCH else colour
