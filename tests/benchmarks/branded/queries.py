"""The queries of a shop: at least 40 of each class, with the attributes that they ask for."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from clip_search.documents.text import fold

from .attributes import CROWDING_KIND, Product
from .judgments import Query
from .words import (
    ENGLISH,
    FRENCH,
    SYNONYMS,
    every_value,
    is_feminine,
    noun_and_colour,
    nouns,
    say,
    with_colour,
)

PER_CLASS = 44
REAL = 400
"""How many queries judge what is found as a whole, and not the first ten alone."""

BRAND, SERIES, BRAND_AND_MODEL = "brand", "series", "brand + model number"
WRITTEN, JOINED, SPLIT = "model number, as written", "model number, joined", "model number, split"
MATERIAL, SIZE, CATEGORY, LATE_WORD = "material", "size", "category", "word after token 77"
BEGINNING, TYPO_IN_BRAND, TYPO_IN_NOUN = "beginning of a word", "typo in the brand", "typo in the noun"
PLAIN, REORDERED, PLURAL, FILLERS = "plain", "reordered", "plural", "filler sentence"
SYNONYM, OTHER_LANGUAGE = "synonym", "the other language"
CROWDING = "the kind that fills the shop"

SAID = (BRAND, SERIES, WRITTEN, JOINED, SPLIT, BRAND_AND_MODEL, MATERIAL, SIZE, CATEGORY, LATE_WORD)
"""Words of the texts prove the answers to these."""
COLOURED = (PLAIN, REORDERED, PLURAL, FILLERS)
"""These too, if texts name the colour."""
SENTENCES: Mapping[str, tuple[str, ...]] = {
    ENGLISH: (
        "I am looking for {a} {one}",
        "do you have any {many}?",
        "show me your {many}",
        "where can I buy {a} {one}",
        "I need {a} {one}, please",
        "we would like some {many}",
    ),
    FRENCH: (
        "je cherche {a} {one}",
        "avez-vous des {many} ?",
        "montrez-moi vos {many}",
        "où acheter {a} {one}",
        "il me faut {a} {one} s'il vous plaît",
        "nous voudrions des {many}",
    ),
}
CROWDING_SENTENCES: Mapping[str, tuple[str, ...]] = {
    ENGLISH: ("{one}", "{many}", "a {one}", "show me your {many}", "do you have any {many}?"),
    FRENCH: ("{one}", "{many}", "une {one}", "montrez-moi vos {many}", "avez-vous des {many} ?"),
}


class Queries:
    """Makes the queries of a shop from its products, so that each has an answer there."""

    def __init__(self, products: Sequence[Product], language: str, seed: int) -> None:
        self.products, self.language = products, language
        self.rng = random.Random(f"{seed} {language}")

    def every(self) -> list[Query]:
        """Return all queries that have an answer, class by class."""
        classes = [
            self.named("brand", BRAND),
            self.named("series", SERIES),
            self.model_number(WRITTEN, str),
            self.model_number(JOINED, joined),
            self.model_number(SPLIT, split),
            self.brand_and_model(),
            self.named("material", MATERIAL),
            self.size(),
            self.named("category", CATEGORY),
            self.named("motif", LATE_WORD),
            self.beginning(),
            self.typo_in_brand(),
            self.typo_in_noun(),
            self.coloured(PLAIN),
            self.coloured(REORDERED),
            self.coloured(PLURAL),
            self.coloured(FILLERS),
            self.synonym(),
            self.other_language(),
        ]
        return [query for one_class in classes for query in first_different(one_class)]

    def crowding(self) -> list[Query]:
        """Return queries for the kind that fills a crowded shop."""
        one, many = nouns(CROWDING_KIND, self.language)
        sentences = CROWDING_SENTENCES[self.language]
        return [
            query_for(CROWDING, sentence.format(one=one, many=many), kind=CROWDING_KIND)
            for sentence in sentences
        ]

    # One method for each class, or for several that are alike.

    def named(self, attribute: str, asked_by: str) -> Iterator[Query]:
        """Ask for a value of an attribute: alone, or together with the noun."""
        for number, product in enumerate(self.sample(attribute)):
            value = getattr(product, attribute)
            words, noun = say(attribute, value, self.language), say("kind", product.kind, self.language)
            if number % 2 == 0:
                yield query_for(asked_by, words, **{attribute: value})
                continue
            in_french = f"{noun} en {words}" if attribute == "material" else f"{noun} {words}"
            text = in_french if self.language == FRENCH else f"{words} {noun}"
            yield query_for(asked_by, text, kind=product.kind, **{attribute: value})

    def model_number(self, asked_by: str, spell: Callable[[str], str]) -> Iterator[Query]:
        """Ask for a model number, in one spelling."""
        for product in self.sample("number"):
            yield query_for(asked_by, spell(product.number), number=product.number)

    def brand_and_model(self) -> Iterator[Query]:
        """Ask for both, in one of the three spellings."""
        for number, product in enumerate(self.sample("number")):
            spell = (str, joined, split)[number % 3]
            text = f"{product.brand} {spell(product.number)}"
            yield query_for(BRAND_AND_MODEL, text, brand=product.brand, number=product.number)

    def size(self) -> Iterator[Query]:
        """Ask for a size: after the noun, without its space, or alone."""
        for number, product in enumerate(self.sample("size")):
            size, noun = say("size", product.size, self.language), say("kind", product.kind, self.language)
            if number % 3 == 2:
                yield query_for(SIZE, size, size=product.size)
                continue
            text = f"{noun} {size.replace(' ', '') if number % 3 else size}"
            yield query_for(SIZE, text, kind=product.kind, size=product.size)

    def beginning(self) -> Iterator[Query]:
        """Type the first three fifths of a word: alone, or after another word."""
        begun = self.rng.sample(found := self.beginnings(), len(found))
        for number, (attribute, value, text) in enumerate(begun):
            product = self.rng.choice([p for p in self.products if getattr(p, attribute) == value])
            if number % 2 == 0:
                yield query_for(BEGINNING, text, **{attribute: value})
            elif attribute == "kind":
                yield query_for(BEGINNING, f"{product.brand} {text}", brand=product.brand, kind=value)
            else:
                noun = say("kind", product.kind, self.language)
                yield query_for(BEGINNING, f"{noun} {text}", kind=product.kind, **{attribute: value})

    def beginnings(self) -> list[tuple[str, str, str]]:
        """Return attributes, their values and the beginnings of these, where no other name begins so."""
        names = [
            (attribute, value, fold(say(attribute, value, self.language)))
            for attribute, values in every_value().items()
            if attribute != "colour"
            for value in values
        ]
        words = [word for _attribute, _value, name in names for word in name.split()]
        sold = {(attribute, getattr(p, attribute)) for attribute in every_value() for p in self.products}
        return [
            (attribute, value, text)
            for attribute, value, name in names
            if (attribute, value) in sold and " " not in name and len(name) > 5
            for text in [name[: max(4, round(0.6 * len(name)))]]
            if sum(word.startswith(text) for word in words) == 1
        ]

    def typo_in_brand(self) -> Iterator[Query]:
        """Misspell a brand: alone, or before the noun."""
        for number, product in enumerate(self.sample("brand")):
            text = with_typo(product.brand, self.rng)
            noun = say("kind", product.kind, self.language)
            if number % 2:
                yield query_for(TYPO_IN_BRAND, f"{text} {noun}", brand=product.brand, kind=product.kind)
            else:
                yield query_for(TYPO_IN_BRAND, text, brand=product.brand)

    def typo_in_noun(self) -> Iterator[Query]:
        """Misspell a noun of five letters or more: alone, or after the brand."""
        long = [p for p in self.products if len(say("kind", p.kind, self.language)) >= 5]
        for number, product in enumerate(self.sample("kind", long)):
            text = with_typo(say("kind", product.kind, self.language), self.rng)
            if number % 2:
                yield query_for(
                    TYPO_IN_NOUN, f"{product.brand} {text}", brand=product.brand, kind=product.kind
                )
            else:
                yield query_for(TYPO_IN_NOUN, text, kind=product.kind)

    def coloured(self, asked_by: str) -> Iterator[Query]:
        """Ask for a kind and a colour."""
        for number, product in enumerate(self.looks()):
            text = self.coloured_text(asked_by, number, product)
            yield query_for(asked_by, text, kind=product.kind, colour=product.colour)

    def coloured_text(self, asked_by: str, number: int, product: Product) -> str:
        """Return a query for a kind and a colour. `number` chooses the sentence of a filler sentence."""
        kind, colour, language = product.kind, product.colour, self.language
        noun, plural = nouns(kind, language)
        one = with_colour(noun, kind, colour, language)
        many = with_colour(plural, kind, colour, language, plural=True)
        if asked_by == REORDERED:
            return " ".join(reversed(noun_and_colour(noun, kind, colour, language)))
        if asked_by == FILLERS:
            sentence = SENTENCES[language][number % len(SENTENCES[language])]
            return " ".join(sentence.format(a=article(one, kind, language), one=one, many=many).split())
        return many if asked_by == PLURAL else one

    def synonym(self) -> Iterator[Query]:
        """Ask for a kind and a colour, with a noun that no text has."""
        synonyms = SYNONYMS[self.language]
        for product in (look for look in self.looks() if look.kind in synonyms):
            noun = self.rng.choice(synonyms[product.kind])
            text = with_colour(noun, product.kind, product.colour, self.language)
            yield query_for(SYNONYM, text, kind=product.kind, colour=product.colour)

    def other_language(self) -> Iterator[Query]:
        """Ask in French in an English shop, and in English in a French one."""
        language = ENGLISH if self.language == FRENCH else FRENCH
        for product in self.looks():
            noun = say("kind", product.kind, language)
            text = with_colour(noun, product.kind, product.colour, language)
            yield query_for(OTHER_LANGUAGE, text, kind=product.kind, colour=product.colour)

    # What to ask for.

    def sample(self, attribute: str, products: Sequence[Product] = ()) -> Iterator[Product]:
        """Yield products for ever, at random but so that all values of an attribute come equally often."""
        by_value: dict[str, list[Product]] = {}
        for product in products or self.products:
            by_value.setdefault(getattr(product, attribute), []).append(product)
        while True:
            for value in self.rng.sample(sorted(by_value), len(by_value)):
                yield self.rng.choice(by_value[value])

    def looks(self) -> list[Product]:
        """Return a product for each kind and colour that the shop has, in random order."""
        looks = list({(product.kind, product.colour): product for product in self.products}.values())
        return self.rng.sample(looks, len(looks))


def first_different(queries: Iterable[Query]) -> list[Query]:
    """Return the first queries of a class of which no two are the same text."""
    found: dict[str, Query] = {}
    for query in queries:
        found.setdefault(query.text, query)
        if len(found) == PER_CLASS:
            break
    return list(found.values())


def query_for(asked_by: str, text: str, **wanted: str) -> Query:
    return Query(asked_by=asked_by, text=text, wanted=wanted)


def article(noun: str, kind: str, language: str) -> str:
    """Return the indefinite article; "headphones" has none in English."""
    if language == FRENCH:
        return "une" if is_feminine(kind) else "un"
    if kind == "headphones":
        return ""
    return "an" if noun[0] in "aeiou" else "a"


def joined(number: str) -> str:
    """Return a model number without separators but for the slash: xr4200/2 for XR-4200/2."""
    return re.sub(r"[-. ]", "", number).lower()


def split(number: str) -> str:
    """Return a model number in parts: xr 4200 2 for XR-4200/2."""
    return " ".join(re.findall(r"[A-Z]+|\d+", number)).lower()


def with_typo(text: str, rng: random.Random) -> str:
    """Return text with one mistake inside its longest word.

    Two letters are swapped, or one is left out, doubled or wrong.
    """
    word = max(text.split(), key=len)
    while True:
        at = rng.randint(1, len(word) - 2)
        wrong = rng.choice(
            (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + rng.choice("aeinorst") + word[at + 1 :],
            )
        )
        if wrong != word:
            return text.replace(word, wrong).lower()


def real_queries(queries: Sequence[Query], seed: int, *, says_colour: bool) -> list[Query]:
    """Return 400 queries whose answers are proven by words of the texts."""
    provable = {*SAID, *(COLOURED if says_colour else ())}
    return random.Random(seed).sample([query for query in queries if query.asked_by in provable], REAL)
