"""Which kind of image file bytes are, by how they begin."""

from typing import Literal

ImageKind = Literal["JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "AVIF", "HEIC"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
#: Suffixes of image files, in lower case.
IMAGE_SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".heic",
    ".heif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)
#: How many of a file's first bytes tell whether it is an image.
HEAD_BYTES = 64

_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Sizes of the second header of a BMP file, little-endian; `BM` alone begins text files, too.
_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def is_image(head: bytes) -> bool:
    """Whether a file whose first `HEAD_BYTES` bytes are `head` is an image, whatever its name."""
    return kind_of(head) is not None


def kind_of(head: bytes) -> ImageKind | None:  # noqa: PLR0911 - one line a kind
    """The kind of image file that begins with `head`; `None` if it is not an image."""
    if head.startswith(JPEG_MAGIC):
        return "JPEG"
    if head.startswith(PNG_MAGIC):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(_TIFF_MAGICS):
        return "TIFF"
    if head.startswith(b"BM") and head[14:18] in _BMP_HEADERS:
        return "BMP"
    return _heif_kind(head)


def _heif_kind(head: bytes) -> ImageKind | None:
    """AVIF and HEIC share a container; its brands tell what is inside."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), HEAD_BYTES)
    brands = {bytes(head[at : at + 4]) for at in (8, *range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None
