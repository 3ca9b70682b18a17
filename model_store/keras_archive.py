"""The zip of a `.keras` file, written so that the same model is the same bytes."""

import io
import json
import re
import zipfile

#: The oldest moment that a zip can hold: bytes must not depend on when they were written.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def without_accidents(data: bytes) -> bytes:
    """The same `.keras` file without dates and memory addresses."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(buffer, "w") as written:
        for name in sorted(given.namelist()):
            content = given.read(name)
            if name == "config.json":
                content = _renumber_shared_ids(content)
            elif name == "metadata.json":
                content = json.dumps(
                    {"keras_version": json.loads(content)["keras_version"]}
                ).encode()
            written.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    return buffer.getvalue()


def _renumber_shared_ids(config: bytes) -> bytes:
    # Keras writes id(object), and only compares them with each other.
    numbers: dict[bytes, int] = {}

    def number(match: re.Match[bytes]) -> bytes:
        return match[1] + str(numbers.setdefault(match[2], len(numbers) + 1)).encode()

    return re.sub(rb'("shared_object_id": )(\d+)', number, config)
