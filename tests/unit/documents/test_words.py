"""Words of texts: how a text is split, reduced to stems and weighted."""

from __future__ import annotations

import sys
import threading

import pytest
import Stemmer

from clip_search.documents import words
from clip_search.documents.text import fold
from clip_search.documents.words import (
    ALGORITHMS,
    LONGEST_WORD,
    analyser,
    chunks,
    code_terms,
    has_code_terms,
    is_code,
    joins,
)

ENGLISH, FRENCH = analyser("en"), analyser("fr")


def terms(text: str, language: str = "en") -> set[str]:
    return set(analyser(language).words_of([(text, 1.0)]).terms)


def vocabulary(text: str, language: str = "en") -> set[str]:
    return set(analyser(language).words_of([(text, 1.0)]).vocabulary)


# Chunks and parts.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Red mug, for tea!", [["red"], ["mug"], ["for"], ["tea"]]),
        ("XR-4200/2 mug", [["xr", "4200", "2"], ["mug"]]),
        ("T65-B", [["t", "65", "b"]]),
        ("KD 310", [["kd"], ["310"]]),
        ("90.412", [["90", "412"]]),
        ("3.5 mm", [["3.5"], ["mm"]]),
        ("3,5 mm", [["3.5"], ["mm"]]),
        ("3,5mm", [["3.5", "mm"]]),
        ("1,000 W", [["1", "000"], ["w"]]),
        ('1/2" pipe', [["1/2"], ["inch"], ["pipe"]]),
        ("1/2 ″ pipe", [["1/2"], ["inch"], ["pipe"]]),
        ("½'' pipe", [["1/2"], ["inch"], ["pipe"]]),
        ('a "red" mug', [["a"], ["red"], ["mug"]]),
        ("5½ cm", [["5"], ["1/2"], ["cm"]]),
        ("28 x 21 cm", [["28"], ["x"], ["21"], ["cm"]]),
        ("28x21cm", [["28", "x", "21", "cm"]]),
        ("28×21 cm", [["28", "x", "21"], ["cm"]]),
        ("C++ and C#, Galaxy S20+", [["c++"], ["and"], ["c#"], ["galaxy"], ["s", "20+"]]),
        ("snake_case", [["snake", "case"]]),
        ("Crème brûlée", [["creme"], ["brulee"]]),
        ("ＦＵＬＬ １２", [["full"], ["12"]]),
        ("٣٫٥ ٤٢", [["3", "5"], ["42"]]),
        ("马克杯", [["马", "克", "杯"]]),
        ("マグ カップ", [["マ", "グ"], ["カ", "ッ", "プ"]]),
        ("कपड़े की दुकान", [["कपड़े"], ["की"], ["दुकान"]]),
        ("كُوب أحمر", [["كوب"], ["احمر"]]),
        ("כוס אדומה", [["כוס"], ["אדומה"]]),
        ("mug 🍵 ☕️ 👍🏽", [["mug"]]),
        ("— … ***", []),
        ("", []),
    ],
)
def test_chunks(text, expected):
    assert list(chunks(text)) == [[fold(part) for part in parts] for parts in expected]


def test_elisions():
    assert list(FRENCH.chunks("L'eau d’orange, s'il n'y a qu'une tasse aujourd'hui")) == [
        ["eau"], ["orange"], ["il"], ["y"], ["a"], ["une"], ["tasse"], ["aujourd", "hui"],
    ]  # fmt: skip
    assert list(analyser("it").chunks("dell'acqua")) == [["acqua"]]
    assert list(ENGLISH.chunks("men's")) == [["men", "s"]]


def test_a_text_without_a_space_is_cut():
    (parts,) = chunks("x" * 10_000)
    assert parts == ["x" * LONGEST_WORD]
    found = ENGLISH.words_of([("a1" * 5_000, 1.0)])
    assert len(found.terms) < 10
    assert max(map(len, found.terms)) <= LONGEST_WORD
    assert len(ENGLISH.words_of([("茶杯" * 2_000, 1.0)]).terms) < 10
    assert all(ENGLISH.words_of([(text, 1.0)]).terms for text in ("🍵a" * 3_000, "é" * 10_000))


def test_codes_have_a_digit_and_several_parts():
    assert [is_code(parts) for parts in (["xr", "4200"], ["t", "shirt"], ["4200"], ["28", "x", "21"])] == [
        True, False, False, True,
    ]  # fmt: skip


def test_joins():
    assert list(joins(["t", "shirt"])) == ["tshirt"]
    assert set(joins(["xr", "4200", "2"])) == {"xr4200", "xr42002", "42002"}
    assert list(joins(["mug"])) == []
    five = list(joins(list("abcde")))
    assert {"ab", "abcd", "bcde", "abcde"} <= set(five)
    assert len(five) == len(set(five)) == 4 + 3 + 2 + 1
    many = list(joins([str(n) for n in range(17)]))
    assert len(many) == 17
    assert "01" in many
    assert "012" not in many
    assert many[-1] == "".join(str(n) for n in range(17))


# Terms, by which spellings meet.


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("tshirt", "Red t-shirt"),
        ("tshirt", "Red t shirt"),
        ("shirt", "Red t-shirt"),
        ("xr4200", "XR-4200/2"),
        ("xr42002", "XR-4200/2"),
        ("4200", "XR4200"),
        ("kd310", "KD 310"),
        ("90412", "90.412"),
        ("1000", "1,000 W"),
        ("28x21cm", "28x21cm"),
        ("21cm", "28 x 21 cm"),
        ("3.5", "3,5 mm"),
        ("mug", "two mugs"),
        ("creme", "CRÈME"),
        ("coffeemaker", "coffee maker"),
    ],
)
def test_spellings_meet(query, text):
    assert ENGLISH.stem(query) in terms(text)


def test_different_numbers_do_not_meet():
    assert "35" not in terms("3.5")
    assert "12" not in terms("1/2")
    assert "c" not in terms("c++")


def test_only_the_first_parts_are_paired():
    names = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(100)]
    found = terms(" ".join(names))
    assert ENGLISH.stem(names[62] + names[63]) in found
    assert ENGLISH.stem(names[64] + names[65]) not in found
    assert "cupofte" not in found
    assert ENGLISH.stem("cuptea") in terms("cup of tea")


def test_stop_words_are_terms_without_weight():
    found = ENGLISH.words_of([("the mug with a lid", 1.0)])
    assert {"the", "with", "a"} <= set(found.terms)
    assert set(found.weights) == {"mug", "lid"}
    assert len(found.terms) == len(set(found.terms))


# Stems.


@pytest.mark.parametrize(
    "words",
    [
        "mug mugs", "glass glasses", "box boxes", "dish dishes", "berry berries", "potato potatoes",
        "knife knives", "shelf shelves", "scarf scarves", "leaf leaves", "child children",
        "man men", "woman women womens", "foot feet", "mouse mice", "bus buses", "lens lenses",
        "enamel enamelled", "ceramic ceramics",
    ],
)  # fmt: skip
def test_english_plurals(words):
    assert len({ENGLISH.stem(word) for word in words.split()}) == 1


@pytest.mark.parametrize(
    "words",
    [
        "tasse tasses", "bijou bijoux", "cheval chevaux", "bureau bureaux", "gâteau gâteaux",
        "théière théières", "bleu bleue bleus bleues", "rouge rouges", "vélo vélos", "sofa sofas",
        "canapé canapés", "noir noire noires", "travail travaux", "émail émaux",
        "gris grise grises", "tapis", "œuf œufs", "genou genoux",
    ],
)  # fmt: skip
def test_french_plurals(words):
    assert len({FRENCH.stem(fold(word)) for word in words.split()}) == 1


def test_what_is_not_stemmed():
    assert [ENGLISH.stem(word) for word in ("is", "xs", "xr4200s", "c++", "3.5", "s20+")] == [
        "is", "xs", "xr4200s", "c++", "3.5", "s20+",
    ]  # fmt: skip
    assert analyser("ja").stem("mugs") == "mugs"
    assert not analyser("ja").algorithm
    assert len(ENGLISH.stem("z" * 100)) == LONGEST_WORD


def test_words_with_marks_are_stemmed():
    hindi = analyser("hi")
    assert hindi.stem(fold("किताबें")) == hindi.stem(fold("किताब"))


def test_languages():
    assert analyser("pt-br").algorithm == analyser("pt").algorithm == "portuguese"
    assert analyser("EN-GB").algorithm == "english"
    assert analyser("en") is ENGLISH
    assert ENGLISH.fingerprint != FRENCH.fingerprint
    assert ENGLISH.fingerprint == analyser("en-gb").fingerprint
    for code in ALGORITHMS:
        assert analyser(code).stem("mugs")


def test_another_stemmer_may_give_other_words(monkeypatch):
    english, japanese = words.Analyser("en").fingerprint, words.Analyser("ja").fingerprint
    monkeypatch.setattr(Stemmer, "version", lambda: "0.1")
    assert words.Analyser("en").fingerprint != english
    assert words.Analyser("ja").fingerprint == japanese


def test_threads_share_an_analyser():
    names = [f"shelves{chr(97 + n % 26) * (n % 7)}" for n in range(2_000)]
    right, found = [ENGLISH.stem(name) for name in names], {}
    fresh = words.Analyser("en")

    def work(number: int) -> None:
        found[number] = [fresh.stem(name) for name in names]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(stems == right for stems in found.values())
    assert len(found) == 4


# Weights.


def weight(term: str, *texts: tuple[str, float]) -> float:
    return ENGLISH.words_of(texts).weights[term]


def test_a_shorter_text_says_more():
    long = "mug " + "word " * 200
    assert weight("mug", ("red mug", 1.0)) > weight("mug", (long, 1.0))


def test_a_heavier_field_says_more():
    assert weight("mug", ("mug", 3.0), ("bowl", 1.0)) > weight("mug", ("bowl", 3.0), ("mug", 1.0))


def test_fields_add_up_and_the_sum_is_limited():
    once, twice = weight("mug", ("mug", 1.0)), weight("mug", ("mug", 1.0), ("mug", 1.0))
    assert once < twice < 2 * once
    assert weight("mug", ("mug " * 1_000, 1.0)) < words.K1 + 1
    assert weight("mug", ("mug", sys.float_info.max)) <= words.K1 + 1


def test_the_weights_are_those_of_the_paper():
    text = "red mug and a red bowl"  # six parts
    length = 1 - words.B + words.B * 6 / words.AVERAGE
    assert weight("red", (text, 2.0)) == pytest.approx(
        (words.K1 + 1) * (4 / length) / (words.K1 + 4 / length)
    )


def test_no_text_has_no_words():
    for texts in ([], [("", 1.0)], [("!?", 1.0)]):
        found = ENGLISH.words_of(texts)
        assert (found.terms, dict(found.weights), found.vocabulary) == ((), {}, frozenset())


# Codes.


def test_code_terms():
    found = set(code_terms("SKU-4711"))
    assert "sku4711" in found
    assert {"^sku", "^sku4", "^sku471", "^sku4711", "^4711"} <= found
    assert not {"^s", "^sk", "^471"} & found
    assert set(code_terms("90.412")) >= {"90412", "^904", "^412"}
    assert {"^ab", "^12"}.isdisjoint(code_terms("AB-12"))


@pytest.mark.parametrize("name", ["Red mug 3", "Mug", "", "x1" * 21, " "])
def test_names_are_no_codes(name):
    assert not has_code_terms(name)
    assert list(code_terms(name)) == []


def test_codes_are_terms_without_weight():
    found = ENGLISH.words_of([("mug", 1.0)], ["SKU-4711", "Mug"])
    assert {"mug", "sku4711", "^4711"} <= set(found.terms)
    assert set(found.weights) == {"mug"}
    assert found.vocabulary == {"mug"}


# The vocabulary.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two red Mugs", {"two", "red", "mugs"}),
        ("T-shirt", {"shirt", "tshirt"}),
        ("XR-4200/2", {"xr42002"}),
        ("28 x 21 cm", set()),
        ("28x21cm", set()),
        ("a1b2c3d4e5", set()),
        ("the with", set()),
        ("Crème brûlée", {"creme", "brulee"}),
        ("z" * 41, set()),
        ("https://example.com/a/b?c=d", {"https", "example", "com"}),
    ],
)
def test_vocabulary(text, expected):
    assert vocabulary(text) == expected


def test_the_vocabulary_alone():
    for text in ("Two red mugs", 'T-shirts, 1/2" C++', "x" * 100, "a1" * 100, "茶杯", "l'eau d'été", ""):
        for language in ("en", "fr", "ja"):
            one = analyser(language)
            texts = [(text, 1.0), ("and more of it", 2.0)]
            assert one.vocabulary_of(texts) == one.words_of(texts).vocabulary


def test_what_is_kept_in_memory_changes_nothing():
    fresh = words.Analyser("en")
    text = "Red T-shirts, XR-4200/2 and mugs for tea. Red again!"
    assert fresh.words_of([(text, 1.0)]) == fresh.words_of([(text, 1.0)]) == ENGLISH.words_of([(text, 1.0)])
