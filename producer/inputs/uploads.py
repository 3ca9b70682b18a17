"""Uploads: parts that callers put into the store themselves, for one job or several to read."""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from fornada import keys
from fornada.errors import DuplicateIdError, InputError, ObjectNotFoundError
from fornada.formats.images import HEAD_BYTES, is_image
from fornada.keys import gateway as gateway_keys
from fornada.parallel import in_parallel
from fornada.records import Name, Record, Sha256
from fornada.storage.interface import ObjectStore, SignedPut
from producer.inputs.interface import StoredUpload, listed
from producer.inputs.stored_images import FoundObject, check_size, kind_by_name
from producer.inputs.tables.interface import TABLE_KINDS

#: Parts of one upload.
MOST_PARTS = 1000
#: How long its URLs are good for.
EXPIRES_AFTER = timedelta(days=1)


class UploadPart(Record):
    """One part: an image, an array, a table or an archive."""

    #: The item's id, if it is an image; its suffix says what it is.
    id: Annotated[str, Field(min_length=1, max_length=1024)]
    size_bytes: int | None = Field(ge=0, default=None)
    sha256: Sha256 | None = None


class Upload(Record):
    """`upload.json`: what an upload consists of."""

    schema_version: Literal[1] = 1
    id: Name
    owner: Name
    created_at: AwareDatetime
    expires_at: AwareDatetime
    parts: list[UploadPart] = Field(min_length=1, max_length=MOST_PARTS)

    @property
    def keys(self) -> gateway_keys.UploadKeys:
        """Where it lies."""
        return gateway_keys.UploadKeys(self.owner, self.id)


class UploadNotFoundError(InputError, LookupError, fault="item", exit_code=2, http_status=404):
    """There is no such upload."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Uploads:
    """The uploads in a store."""

    objects: ObjectStore

    def create(self, owner: str, parts: Sequence[UploadPart]) -> Upload:
        """Reserve an upload.

        Raises:
            DuplicateIdError: Two parts have one id.
            StoreError: The store cannot be reached.
        """
        for part_id, count in Counter(part.id for part in parts).items():
            if count > 1:
                first, second, *_ = (n for n, part in enumerate(parts) if part.id == part_id)
                raise DuplicateIdError.of((first, second), item_id=part_id)
        at = self.objects.server_time()
        upload = Upload(
            id=f"u-{secrets.token_hex(16)}",
            owner=owner,
            created_at=at,
            expires_at=at + EXPIRES_AFTER,
            parts=list(parts),
        )
        self.objects.put(upload.keys.record, upload.to_json())
        return upload

    def signed(self, upload: Upload) -> list[SignedPut]:
        """How to put each part."""
        expires_s = int(EXPIRES_AFTER.total_seconds())
        return [
            self.objects.presign_put(
                upload.keys.part(number),
                size_bytes=part.size_bytes,
                sha256=part.sha256,
                expires_s=expires_s,
            )
            for number, part in enumerate(upload.parts)
        ]

    def note_job(self, stored: StoredUpload, job_id: str) -> None:
        """Note that a job is about to read the upload, which keeps it."""
        self.objects.put(gateway_keys.UploadKeys(stored.owner, stored.upload_id).job(job_id), b"{}")

    def find(self, stored: StoredUpload) -> Upload:
        """The upload.

        Raises:
            UploadNotFoundError: The owner has no such upload.
        """
        where = gateway_keys.UploadKeys(
            stored.owner, keys.check_name("upload", stored.upload_id)
        ).record
        try:
            return Upload.from_json(self.objects.get(where).data, where=where)
        except ObjectNotFoundError:
            raise UploadNotFoundError(
                f"there is no upload {stored.upload_id}; make one with POST /v1/uploads"
            ) from None

    def found(self, stored: StoredUpload, *, max_bytes: int) -> list[FoundObject]:
        """Its parts, in order.

        Raises:
            UploadNotFoundError: The owner has no such upload.
            InputError: Parts are missing, of another size, or of no kind.
        """
        upload = self.find(stored)
        infos = {info.key: info for info in self.objects.list(upload.keys.parts)}
        flaws, found = [], []
        for number, part in enumerate(upload.parts):
            info = infos.get(upload.keys.part(number))
            if info is None:
                flaws.append(f"{part.id!r} was not put there")
            elif part.size_bytes not in {None, info.size_bytes}:
                flaws.append(f"{part.id!r} has {info.size_bytes} bytes, not {part.size_bytes}")
            else:
                kind = kind_by_name(part.id) or "image"
                found.append(
                    FoundObject(info=info, bucket=None, kind=kind, name=part.id, sha256=part.sha256)
                )
        nameless = [file for file in found if kind_by_name(file.called) is None]
        looked_at = zip(nameless, in_parallel(self._is_image, nameless), strict=True)
        flaws += [
            f"{file.name!r} is neither an image nor a .npy, .tar or table by its name"
            for file, image in looked_at
            if not image
        ]
        tables = [file for file in found if file.kind in TABLE_KINDS]
        if len(tables) not in {0, len(found)}:
            flaws.append(f"{tables[0].name!r} is a table, and others are not")
        if flaws:
            raise InputError(f"{stored} cannot be submitted: {listed(flaws)}")
        for file in found:
            check_size(file, max_bytes)
        return found

    def _is_image(self, file: FoundObject) -> bool:
        return is_image(self.objects.get(file.info.key, max_bytes=HEAD_BYTES).data)
