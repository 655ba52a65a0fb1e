"""The forms of the search pages: text, filters and order, and the photo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.files.uploadedfile import UploadedFile

from clip_search.exceptions import BadImage

from . import photos

MAX_LENGTH = 200
MAX_VALUES = 30
HIGHEST_PRICE = 1_000_000
ORDERS = {
    "": "Best match",
    "price": "Price, low to high",
    "-price": "Price, high to low",
    "-created": "Newest",
}
"""The labels of the orders: the arguments of `SearchResults.order_by()`."""


class QueryField(forms.CharField):
    """A line of text. It is cut at `MAX_LENGTH` instead of refused: a link should always lead to a page."""

    def to_python(self, value: Any) -> str:
        return " ".join((value or "").replace("\0", " ").split())[:MAX_LENGTH]


class ValuesField(forms.MultipleChoiceField):
    """Several values of a filter. A value that no product has is valid: it finds nothing."""

    def to_python(self, value: Any) -> list[str]:
        clean = QueryField().to_python
        return sorted({clean(one) for one in value or ()} - {""})[:MAX_VALUES]

    def valid_value(self, value: Any) -> bool:
        return True


class PriceField(forms.DecimalField):
    """A price in euros."""

    def __init__(self) -> None:
        super().__init__(required=False, min_value=0, max_value=HIGHEST_PRICE, decimal_places=2)


class SearchForm(forms.Form):
    """The parameters of a search. `cleaned_data` has the valid ones; the others are ignored."""

    q = QueryField(required=False)
    about = QueryField(required=False)  # words about a photo
    category = ValuesField(required=False)
    colour = ValuesField(required=False)
    price_from = PriceField()
    price_to = PriceField()
    in_stock = forms.BooleanField(required=False)
    order = forms.ChoiceField(required=False, choices=list(ORDERS.items()))

    def clean(self) -> dict[str, Any]:
        low, high = self.value("price_from"), self.value("price_to")
        if low and high and low > high:
            self.cleaned_data |= {"price_from": high, "price_to": low}
        return self.cleaned_data

    @property
    def query(self) -> str:
        return str(self.cleaned_data["q"])

    def value(self, name: str) -> Any:
        """Return a field's value. It is falsy if the parameter is missing or invalid."""
        return self.cleaned_data.get(name)

    def lookups(self) -> dict[str, Any]:
        """Return the filters as arguments of `SearchResults.filter()`."""
        lookups = {
            "category__in": self.value("category"),
            "colour__in": self.value("colour"),
            "price__gte": self.value("price_from"),
            "price__lte": self.value("price_to"),
            "in_stock": self.value("in_stock"),
        }
        return {name: value for name, value in lookups.items() if value}

    def parameters(self, **changes: Any) -> Iterator[tuple[str, str]]:
        """Yield the names and values that lead to the first page of this search, with some fields changed."""
        for name, value in (self.cleaned_data | changes).items():
            for one in value if isinstance(value, list) else [value]:
                if one:
                    yield name, "yes" if one is True else str(one)

    def url(self, **changes: Any) -> str:
        """Return the query string for the first page of this search, with some fields changed."""
        return "?" + urlencode(list(self.parameters(**changes)))

    def url_without_filters(self) -> str:
        """Return the query string for this search without any filter."""
        return self.url(category=[], colour=[], price_from="", price_to="", in_stock=False)

    def url_as_typed(self, corrected: str) -> str:
        """Return the query string that searches for the words as they were typed, not as they were corrected.

        A word in quotes is not corrected.
        """
        typed = self.query.split()
        words = corrected.split()
        if len(words) != len(typed):
            return self.url(q=f'"{self.query}"')
        quoted = [one if one == other else f'"{one}"' for one, other in zip(typed, words, strict=True)]
        return self.url(q=" ".join(quoted))

    # The hidden inputs of the forms in the page, each of which sends one part of a search.

    def besides_price(self) -> list[tuple[str, str]]:
        """Return what a form for the price must send too."""
        return list(self.parameters(price_from="", price_to=""))

    def besides_about(self) -> list[tuple[str, str]]:
        """Return what a form for the words about a photo must send too."""
        return list(self.parameters(about=""))


class PhotoForm(forms.Form):
    """A photo to search by. `cleaned_data["photo"]` is a small JPEG file that is safe to store."""

    photo = forms.FileField(
        error_messages={"required": "Choose a photo first.", "empty": "The photo is empty. Choose another."}
    )

    def clean_photo(self) -> bytes:
        upload: UploadedFile = self.cleaned_data["photo"]
        try:
            return photos.small_jpeg(upload)
        except BadImage as error:
            raise forms.ValidationError(str(error)) from error
