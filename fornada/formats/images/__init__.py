"""Image files become items: their kinds, opening, decoding like each loader, resizing, the item."""

from fornada.formats.images.decoder_pool import DecoderPool
from fornada.formats.images.decoders import missing_decoders
from fornada.formats.images.item import (
    check_image_input,
    decode_item,
)
from fornada.formats.images.kinds import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    JPEG_MAGIC,
    PNG_MAGIC,
    is_image,
)
from fornada.formats.images.orientation import has_ignored_orientation
from fornada.formats.images.pillow_pixels import image_shape

__all__ = [
    "HEAD_BYTES",
    "IMAGE_SUFFIXES",
    "JPEG_MAGIC",
    "PNG_MAGIC",
    "DecoderPool",
    "check_image_input",
    "decode_item",
    "has_ignored_orientation",
    "image_shape",
    "is_image",
    "missing_decoders",
]
