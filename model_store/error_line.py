"""What a framework said when it failed, as one line."""

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MOST_CHARACTERS = 300


def error_line(exc: BaseException) -> str:
    """What Keras said, as one line; it begins with the class of the layer at fault."""
    # Keras begins with a line that says nothing, and colours the ones that do.
    text = " ".join(_COLOUR.sub("", str(exc)).split())
    said = text.removeprefix("Exception encountered when calling ")
    return said[:_MOST_CHARACTERS] or type(exc).__name__
