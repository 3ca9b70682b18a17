"""Find local files: which ones each path means, and what they are."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fornada.errors import InputError, UsageError
from producer.inputs.array_files import reading
from producer.inputs.file_kinds import Kind, has_image_suffix, is_named_as_text, kind_of
from producer.inputs.interface import LeftOut, LocalFiles, Selection, is_litter, listed
from producer.inputs.tables.interface import TABLE_KINDS


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile:
    """A file to read."""

    path: str
    #: The folder that the caller named, or that the glob begins with.
    base: str
    kind: Kind
    #: Why it cannot be read, if that is known.
    error: str | None = None

    @property
    def where(self) -> str:
        """Its path, for error messages."""
        return printable(self.path)


def find_files(files: LocalFiles, *, strict: bool) -> list[FoundFile]:
    """The files that `files` means, in order; what cannot be an item is noted as left out.

    A path is a file, a folder, or a glob, `**` included. A folder is searched for images with all
    below it, sorted by name; for arrays, tables and archives where it has no image; and for texts,
    one a file, where it has none of these. Hidden files in folders and globs, and those that
    Windows and macOS leave there, are never looked at.

    Args:
        files: What the caller gave.
        strict: Refuse what would be left out.

    Raises:
        InputError: A path does not exist, or there is no file to read.
        UsageError: There are no paths.
        LocalDiskError: The disk failed.
    """
    if not files.paths:
        raise UsageError("no input was given; name files, folders or s3:// URLs")
    files.left_out.clear()
    finder = _Finder(selection=files.selection, left_out=files.left_out)
    found = _expanded(files, finder)
    errors = [file.error for file in found if file.error is not None]
    refused = [*files.left_out.reasons, *errors]
    if refused and (strict or len(errors) == len(found)):
        raise InputError(listed(refused, count=files.left_out.count + len(errors)))
    if not found:
        given = ", ".join(printable(os.fspath(path)) for path in files.paths)[:300]
        if files.selection == Selection():
            raise InputError(f"{given} has no file to read; check the path")
        raise InputError(f"{given} has no file that is included; check include and exclude")
    return found


def _expanded(files: LocalFiles, finder: "_Finder") -> list[FoundFile]:
    """What all paths mean; refuses together those that mean nothing."""
    found: list[FoundFile] = []
    refused = []
    for path in files.paths:
        try:
            found += finder.expand(os.fspath(path))
        except InputError as exc:
            refused.append(str(exc))
    if refused:
        raise InputError(listed(refused))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finder:
    """Expands paths."""

    selection: Selection
    left_out: LeftOut

    def expand(self, text: str) -> list[FoundFile]:
        """The files that one path means, in order."""
        path = Path(text)
        with reading(printable(text)):
            if path.is_dir():
                return self._folder(text, base=text)
            if not path.exists() and glob.has_magic(text):
                return self._matches(text)
            if not path.exists():
                kind_of(path, where=printable(text))
        parent = os.path.dirname(text)  # noqa: PTH120 - text, to keep many small
        # The path that was named is meant, even if it is hidden.
        found = self._checked(text, base=parent)
        return found if is_litter(path.name) else self._meant(found, path.name)

    def _meant(self, found: list[FoundFile], relative: str) -> list[FoundFile]:
        """Of a found file itself, or of an archive that may hold files that are meant."""
        if self.selection.takes(relative):
            return found
        return [
            file
            for file in found
            if file.kind in {"tar", "zip"} and self.selection.takes_archive(relative)
        ]

    def _matches(self, pattern: str) -> list[FoundFile]:
        parts = Path(pattern).parts
        # A folder may have such a name.
        begin = [
            part
            for number, part in enumerate(parts[:-1], 1)
            if not glob.has_magic("".join(parts[:number])) or Path(*parts[:number]).is_dir()
        ]
        rest = [*parts[len(begin) :], *(["*"] if parts[-1] == "**" else [])]
        base = Path(*begin)
        # Not the module glob, whose `**` follows links, in circles too.
        matches = sorted(base.glob("/".join(rest)))
        if not matches:
            raise InputError(f"{pattern} matches no files; check the pattern")
        found: list[FoundFile] = []
        for match in matches:
            relative = match.relative_to(base)
            if not match.is_dir():
                if self.selection.takes(relative.as_posix()):
                    found += self._checked(str(match), base=str(base))
                else:
                    found += self._archive(str(match), base=str(base), relative=str(relative))
            elif "**" not in rest and not any(map(is_litter, relative.parts)):
                # `**` itself finds what is in a folder.
                found += self._folder(str(match), base=str(base))
            elif match.is_symlink():
                self.left_out.add(_linked(str(match)))
        return self._without_tables(found)

    def _without_tables(self, found: list[FoundFile]) -> list[FoundFile]:
        """What a glob matches, less tables beside images, such as their labels."""
        if not any(file.kind == "image" for file in found):
            return found
        for file in found:
            if file.kind in TABLE_KINDS:
                self.left_out.add(f"{file.where} is a table beside images; submit it separately")
        return [file for file in found if file.kind not in TABLE_KINDS]

    def _checked(self, path: str, *, base: str) -> list[FoundFile]:
        """The file, which is what its first bytes say; none where it can be no item."""
        try:
            kind = kind_of(Path(path), where=printable(path))
        except InputError as exc:
            if has_image_suffix(path):
                return [FoundFile(path=path, base=base, kind="image", error=str(exc))]
            self.left_out.add(str(exc))
            return []
        return [FoundFile(path=path, base=base, kind=kind)]

    def _archive(self, path: str, *, base: str, relative: str) -> list[FoundFile]:
        """The file if it is an archive, which may hold files that `include` names."""
        if has_image_suffix(path) or not self.selection.takes_archive(relative):
            return []
        try:
            kind = kind_of(Path(path), where=printable(path))
        except InputError:
            return []
        return [FoundFile(path=path, base=base, kind=kind)] if kind in {"tar", "zip"} else []

    def _folder(self, folder: str, *, base: str) -> list[FoundFile]:
        """The images in `folder` and below, sorted by name; without any, what else can be read."""
        images: list[FoundFile] = []
        others: list[FoundFile] = []
        texts: list[FoundFile] = []
        left_out = LeftOut()
        for path in self._walk(folder, left_out):
            relative = os.path.relpath(path, base)
            if not self.selection.takes(relative):
                others += self._archive(path, base=base, relative=relative)
                continue
            if has_image_suffix(path) and os.path.isfile(path):  # noqa: PTH113 - text
                images.append(FoundFile(path=path, base=base, kind="image"))
                continue
            if is_named_as_text(path) and os.path.isfile(path):  # noqa: PTH113 - text
                texts.append(FoundFile(path=path, base=base, kind="text"))
                continue
            try:
                kind = kind_of(Path(path), where=printable(path))
            except InputError as exc:
                left_out.add(str(exc))
                continue
            found = FoundFile(path=path, base=base, kind=kind)
            (images if kind == "image" else others).append(found)
        if images:
            for file in others:
                left_out.add(
                    f"{file.where} is not an image file, and a folder with images gives only "
                    "those; name it too"
                )
        for file in texts if images or others else []:
            left_out.add(f"{file.where} is a text, and others are not; name it alone")
        self.left_out.extend(left_out)
        return sorted(images or others or texts, key=lambda file: _parts(file.path))

    def _walk(self, folder: str, left_out: LeftOut) -> Iterator[str]:
        """The files in `folder` and below that are not litter."""

        def passed_over(exc: OSError) -> None:
            if exc.filename == folder or not isinstance(exc, PermissionError):
                raise exc
            left_out.add(f"{printable(exc.filename)} may not be read by this user")

        for parent, folders, names in os.walk(folder, onerror=passed_over):
            folders[:] = [name for name in folders if not is_litter(name)]
            for name in folders:
                link = os.path.join(parent, name)  # noqa: PTH118 - text
                if os.path.islink(link):  # noqa: PTH114 - text
                    left_out.add(_linked(link))
            yield from (os.path.join(parent, name) for name in names if not is_litter(name))  # noqa: PTH118 - text


def _linked(path: str) -> str:
    return (
        f"{printable(path)} is a link to a folder, and links are not followed; name the folder it "
        "points to"
    )


def _parts(path: str) -> list[str]:
    return path.split(os.sep)  # noqa: PTH206 - text


def common_base(files: Sequence[FoundFile]) -> str:
    """The folder that all of them share: what item ids are relative to.

    An archive counts as a folder of the files in it.
    """
    return os.path.commonpath({os.path.abspath(_base(file)) for file in files})  # noqa: PTH100 - text


def _base(file: FoundFile) -> str:
    is_named = os.path.dirname(file.path) == file.base  # noqa: PTH120 - text
    return file.path if file.kind in {"tar", "zip"} and is_named else file.base


def printable(path: str) -> str:
    """The path as printable text, whatever bytes it has."""
    return os.fsencode(Path(path).as_posix()).decode("utf-8", "backslashreplace")
