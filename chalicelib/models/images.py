"""The images of a call, and what a model takes for them: for these, unlike for texts, a call's bytes say nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from chalicelib.models.errors import UsageUnbounded
from chalicelib.models.spelling import plain, type_of

IMAGE_TOKENS = 5_000
"""Counted for an image, whatever its bytes: more than any current model takes but those of SMALL_MODELS."""
DETAILED_IMAGE_TOKENS = 25_000
"""The same for one whose `detail` is `original`: 10,000 patches, each for some 2.5 tokens at most."""
SMALL_IMAGE_TOKENS = 50_000
"""The same for a model that takes many tokens for an image, at a low price for each."""
_SMALL_MODELS = re.compile(r"(.*/)?gpt-4o-mini")
KINDS = frozenset({"image_url", "input_image", "image", "computer_screenshot"})
"""The types of parts that are one."""
_DATA = re.compile("data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=_-]*$", re.ASCII)
_BASE64 = re.compile("[A-Za-z0-9+/=_-]*", re.ASCII)


def is_image(name: str, value: Mapping[str, object]) -> bool:
    """Whether an object is an image. name: of the member that it stands under."""
    if plain(name) == "inlinedata":
        return holds_an_image(value)
    kind = type_of(value)
    # Mistral's parts may leave out their type.
    return "image_url" in value if kind is None else isinstance(kind, str) and kind in KINDS


def tokens(images: Collection[Mapping[str, object]], model: str) -> int:
    """Return what images are counted for."""
    return sum(_tokens_of(one, model) for one in images)


def holds_an_image(value: object) -> bool:
    """Whether Gemini's inline data is an image by every name that the type may have."""
    kinds = [one for name, one in value.items() if plain(name) == "mimetype"] if isinstance(value, dict) else []
    return bool(kinds) and all(isinstance(one, str) and one.lower().startswith("image/") for one in kinds)


def data_bytes(images: Collection[Mapping[str, object]]) -> int:
    """Return the bytes of the images' data, which no model reads as text."""
    # SECURITY: an image may stand in another, and what is left out twice would make up for a text, or be paid out
    # (test_an_image_within_an_image_counts_once).
    places = {id(place): place for image in images for place in (image, *image.values()) if isinstance(place, dict)}
    texts = [(name, value) for place in places.values() for name, value in place.items() if isinstance(value, str)]
    # SECURITY: what is called an image may be sound or a document (test_what_is_not_in_the_call_is_refused).
    if any(text[:5].lower() == "data:" and text[5:11].lower() != "image/" for _, text in texts):
        raise UsageUnbounded("image_url")
    # SECURITY: a text in an image's part is a text all the same (test_a_text_within_an_image_counts).
    return sum(len(text) for name, text in texts if _DATA.match(text) or (name == "data" and _BASE64.fullmatch(text)))


def _tokens_of(image: Mapping[str, object], model: str) -> int:
    """Return what an image is counted for."""
    if _SMALL_MODELS.match(model):
        return SMALL_IMAGE_TOKENS
    within = (image, *(one for one in image.values() if isinstance(one, dict)))
    is_detailed = any(str(one.get("detail")).lower() == "original" for one in within)
    return DETAILED_IMAGE_TOKENS if is_detailed else IMAGE_TOKENS
