"""The forms of the search pages: text, filters and photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.files.uploadedfile import UploadedFile

from clip_search.exceptions import BadImage

from . import photos

MAX_LENGTH = 200
MAX_VALUES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBand:
    """The prices in euros from `low` up to, but not including, `high`. None means no limit."""

    label: str
    low: int | None = None
    high: int | None = None

    def lookups(self) -> dict[str, int]:
        """Return the band as arguments of `SearchResults.filter()`."""
        limits = {"price__gte": self.low, "price__lt": self.high}
        return {name: limit for name, limit in limits.items() if limit is not None}


PRICE_BANDS = {
    "under-25": PriceBand(label="Under €25", high=25),
    "25-50": PriceBand(label="€25 to €50", low=25, high=50),
    "50-100": PriceBand(label="€50 to €100", low=50, high=100),
    "100-250": PriceBand(label="€100 to €250", low=100, high=250),
    "over-250": PriceBand(label="€250 and more", low=250),
}


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


class SearchForm(forms.Form):
    """The parameters of a search. `cleaned_data` has the valid ones; the others are ignored."""

    q = QueryField(required=False)
    category = ValuesField(required=False)
    colour = ValuesField(required=False)
    price = forms.ChoiceField(
        required=False, choices=[(key, band.label) for key, band in PRICE_BANDS.items()]
    )
    in_stock = forms.BooleanField(required=False)

    @property
    def query(self) -> str:
        return str(self.cleaned_data["q"])

    def value(self, name: str) -> Any:
        """Return a field's value. It is falsy if the parameter is missing or invalid."""
        return self.cleaned_data.get(name)

    def lookups(self, *, leave_out: str = "") -> dict[str, Any]:
        """Return the filters as arguments of `SearchResults.filter()`, without those of one field."""
        values = {name: value for name, value in self.cleaned_data.items() if value and name != leave_out}
        lookups = {f"{name}__in": values[name] for name in ("category", "colour") if name in values}
        if "price" in values:
            lookups |= PRICE_BANDS[values["price"]].lookups()
        if "in_stock" in values:
            lookups["in_stock"] = True
        return lookups

    def url(self, **changes: Any) -> str:
        """Return the query string for the first page of this search, with some fields changed."""
        values = {name: value for name, value in (self.cleaned_data | changes).items() if value}
        return "?" + urlencode({k: "yes" if v is True else v for k, v in values.items()}, doseq=True)

    def url_without_filters(self) -> str:
        """Return the query string for this search without any filter."""
        return self.url(category=[], colour=[], price="", in_stock=False)


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
