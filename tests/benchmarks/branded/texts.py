"""What the shop's texts say of a product: its name, and a description of 300 words in HTML."""

from __future__ import annotations

import random
from collections.abc import Mapping
from html import escape

from .attributes import Product
from .prose import SENTENCES
from .words import ENGLISH, FRENCH, say, with_colour

DESCRIPTION_WORDS = 300

LABELS: Mapping[str, Mapping[str, str]] = {
    ENGLISH: {"material": "Material:", "size": "Size:", "number": "Model:"},
    FRENCH: {"material": "Matière :", "size": "Taille :", "number": "Modèle :"},
}
FIRST_SENTENCES: Mapping[str, str] = {
    ENGLISH: "{noun}, from the {series} collection by {brand}.",
    FRENCH: "{noun}, de la collection {series} par {brand}.",
}
CROSS_SELLING: Mapping[str, tuple[str, ...]] = {
    ENGLISH: (
        "Goes well with our {other}.",
        "Have you seen our {other}?",
        "Also add our {other} to your cart.",
    ),
    FRENCH: (
        "Se marie bien avec : {other}.",
        "Avez-vous vu notre nouveauté : {other} ?",
        "Ajoutez aussi à votre panier : {other}.",
    ),
}
LAST_SENTENCES: Mapping[str, str] = {ENGLISH: "Engraved below: {motif}.", FRENCH: "Gravure au dos : {motif}."}


def name(product: Product, language: str, *, says_colour: bool) -> str:
    """Return the product's name, such as "Haldin XR-4200/2 red mug"."""
    return f"{product.series} {product.number} {described(product, language, says_colour=says_colour)}"


def described(product: Product, language: str, *, says_colour: bool) -> str:
    """Return what the product is, with its colour or without."""
    noun = say("kind", product.kind, language)
    return with_colour(noun, product.kind, product.colour, language) if says_colour else noun


def description(product: Product, language: str, *, says_colour: bool) -> str:
    """Return the description. Nothing but its last sentence names the motif."""
    rng = random.Random(product.model)
    noun = described(product, language, says_colour=says_colour)
    first = FIRST_SENTENCES[language].format(
        noun=noun[0].upper() + noun[1:], series=product.series, brand=product.brand
    )
    last = LAST_SENTENCES[language].format(motif=say("motif", product.motif, language))
    paragraphs: list[list[str]] = [[], [], []]
    advertising = cross_selling(product, language, rng, says_colour=says_colour)
    words = len(" ".join([first, *facts(product, language), advertising, last]).split())
    for number, sentence in enumerate(rng.sample(SENTENCES[language], len(SENTENCES[language]))):
        if words >= DESCRIPTION_WORDS:
            break
        paragraphs[number % 3].append(sentence)
        words += len(sentence.split())
    if advertising:
        paragraphs[rng.randrange(3)].append(advertising)
    blocks = [f"<p>{escape(' '.join(sentences))}</p>" for sentences in paragraphs]
    blocks.insert(rng.choice((0, 3)), facts_in_html(product, language))  # shops have them above or below
    return f"<h2>{escape(first)}</h2>\n" + "\n".join(blocks) + f"\n<p><em>{escape(last)}</em></p>"


def facts(product: Product, language: str) -> list[str]:
    """Return the lines of the table of facts."""
    return [
        f"{label} {say(attribute, getattr(product, attribute), language)}"
        for attribute, label in LABELS[language].items()
    ]


def facts_in_html(product: Product, language: str) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in facts(product, language)) + "</ul>"


def cross_selling(product: Product, language: str, rng: random.Random, *, says_colour: bool) -> str:
    """Return a sentence that advertises another product, or an empty string."""
    if not product.advertises:
        return ""
    kind, colour = product.advertises
    noun = say("kind", kind, language)
    other = with_colour(noun, kind, colour, language) if says_colour else noun
    return rng.choice(CROSS_SELLING[language]).format(other=other)
