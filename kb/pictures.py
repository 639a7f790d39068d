"""Pictures for models that take images: small enough to send, as `data:` addresses."""

from __future__ import annotations

import base64
import io

from PIL import Image

from kb.errors import N_, ImageUnreadable
from kb.models import Original
from kb.parsing.images.upright import as_seen
from kb.parsing.media_types import GIF, JPEG, PNG, WEBP

MEDIA_TYPES = (PNG, JPEG, WEBP, GIF)
MOST_PICTURES = 8  # the newest of a conversation
LONGEST_SIDE = 1_568  # pixels; the large providers scale down what is larger
MOST_BYTES = 1 << 20
MOST_PIXELS = 80_000_000  # of a file that is opened: four bytes each
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_QUALITIES = (85, 70, 50, 30)


def to_data_url(original: Original) -> str:
    """The picture as JPEG on white ground, upright, within the limits above; of an animation the first frame.

    Errors: `ImageUnreadable`.
    """
    try:
        with Image.open(original.path, formats=_FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ImageUnreadable(name=original.name, detail=N_("it has too many pixels"))
            data = _encode(image)
    except Image.DecompressionBombError as error:
        raise ImageUnreadable(name=original.name, detail=N_("it has too many pixels")) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageUnreadable(name=original.name, detail=N_("it is damaged")) from error
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _encode(image: Image.Image) -> bytes:
    picture = as_seen(image, LONGEST_SIDE**2)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    for quality in _QUALITIES:
        target = io.BytesIO()
        picture.save(target, "JPEG", quality=quality)
        if target.tell() <= MOST_BYTES:
            break
    return target.getvalue()
