"""What a shopper may ask for, by words, filters and photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.files.uploadedfile import UploadedFile

from clip_search.exceptions import BadImage

from . import photos

MOST_CHARACTERS = 200
MOST_VALUES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBand:
    """Prices from `low` to below `high`, in euros. None: no bound."""

    label: str
    low: int | None = None
    high: int | None = None

    def filters(self) -> dict[str, int]:
        bounds = {"price__gte": self.low, "price__lt": self.high}
        return {name: bound for name, bound in bounds.items() if bound is not None}


PRICE_BANDS = {
    "under-25": PriceBand(label="Under €25", high=25),
    "25-50": PriceBand(label="€25 to €50", low=25, high=50),
    "50-100": PriceBand(label="€50 to €100", low=50, high=100),
    "100-250": PriceBand(label="€100 to €250", low=100, high=250),
    "over-250": PriceBand(label="€250 and more", low=250),
}


class Words(forms.CharField):
    """A line of text. What is too long is cut off, not refused: a link is followed, not corrected."""

    def to_python(self, value: Any) -> str:
        return " ".join((value or "").replace("\0", " ").split())[:MOST_CHARACTERS]


class Values(forms.MultipleChoiceField):
    """Any values. One that no product has finds nothing, and can be taken away like every other."""

    def to_python(self, value: Any) -> list[str]:
        words = Words()
        return sorted({words.to_python(one) for one in value or ()} - {""})[:MOST_VALUES]

    def valid_value(self, value: Any) -> bool:
        return True


class SearchForm(forms.Form):
    """The parameters of a search. What is not valid is left out: `cleaned_data` has only what is."""

    q = Words(required=False)
    category = Values(required=False)
    colour = Values(required=False)
    price = forms.ChoiceField(
        required=False, choices=[(key, band.label) for key, band in PRICE_BANDS.items()]
    )
    in_stock = forms.BooleanField(required=False)

    @property
    def words(self) -> str:
        return str(self.cleaned_data["q"])

    def chosen(self, name: str) -> Any:
        """Return a field's value, falsy where there is none."""
        return self.cleaned_data.get(name)

    def filters(self, *, without: str = "") -> dict[str, Any]:
        """Return the filters as clip_search takes them, those of one field left out."""
        values = {name: value for name, value in self.cleaned_data.items() if value and name != without}
        found = {f"{name}__in": values[name] for name in ("category", "colour") if name in values}
        if "price" in values:
            found |= PRICE_BANDS[values["price"]].filters()
        if "in_stock" in values:
            found["in_stock"] = True
        return found

    def link(self, **changes: Any) -> str:
        """Return the link to the first page of this search, with some fields changed."""
        values = {name: value for name, value in (self.cleaned_data | changes).items() if value}
        return "?" + urlencode({k: "yes" if v is True else v for k, v in values.items()}, doseq=True)

    def link_without_filters(self) -> str:
        return self.link(category=[], colour=[], price="", in_stock=False)


class PhotoForm(forms.Form):
    """A photo to search by. `cleaned_data["photo"]` is a small JPEG of it, which is safe to keep."""

    photo = forms.FileField(
        error_messages={"required": "Choose a photo first.", "empty": "The photo is empty. Choose another."}
    )

    def clean_photo(self) -> bytes:
        upload: UploadedFile = self.cleaned_data["photo"]
        try:
            return photos.shrunk(upload)
        except BadImage as error:
            raise forms.ValidationError(str(error)) from error
