"""What a caller posts to make a job."""

import glob
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from fornada.errors import InputError
from fornada.tensors import ImageLoader, Interpolation, Resize
from gateway.predicting.json_items import with_bytes
from model_store.images import ImageOptions
from producer.inputs.interface import Inputs, Selection, StoredImages, StoredUpload

_Request = ConfigDict(extra="forbid", allow_inf_nan=False)
_Uri = Annotated[
    str, Field(pattern=r"^s3://[^/]+/", examples=["s3://bucket/prefix/"], max_length=2048)
]


class InlineInput(BaseModel):
    """Items in the request itself, which has 64 KiB at most."""

    model_config = _Request

    type: Literal["inline"]
    items: list[Any] | dict[str, list[Any]] = Field(
        description="An item each, in the shape that the model takes; for several inputs, such a "
        "list by name, or an item's values by name each. An image file, or bytes, as "
        '`{"b64": "…"}`.'
    )
    item_ids: list[str] | None = Field(default=None, description="An id for each item.")


class UploadInput(BaseModel):
    """What was put where `POST /v1/uploads` said; it is read there, and not copied."""

    model_config = _Request

    type: Literal["upload"]
    id: str = Field(max_length=128, description="The upload's id.")


class StoredInput(BaseModel):
    """Objects in the store, which are read where they lie."""

    model_config = _Request

    type: Literal["s3"]
    uri: _Uri = Field(description="s3://bucket/prefix/")
    include: list[str] = Field(
        default=[], description="Globs of names or paths below the prefix; empty for all."
    )
    exclude: list[str] = Field(default=[], description="Such globs of what is left out.")


class ManifestInput(BaseModel):
    """A list of objects in the store.

    A manifest of SageMaker, `[{"prefix": "s3://bucket/"}, "a.jpg", …]`, or lines of JSON with their
    addresses: `{"source-ref": "s3://bucket/a.jpg"}`.
    """

    model_config = _Request

    type: Literal["manifest"]
    uri: _Uri = Field(description="s3://bucket/list.manifest")


class ParquetInput(BaseModel):
    """Rows of Parquet objects, which are read where they lie."""

    model_config = _Request

    type: Literal["parquet"]
    uri: _Uri = Field(description="s3://bucket/table.parquet, or a prefix of several")


JobInput = Annotated[
    InlineInput | UploadInput | StoredInput | ManifestInput | ParquetInput,
    Field(discriminator="type"),
]


class WebhookRequest(BaseModel):
    """Whom to tell."""

    model_config = _Request

    url: str = Field(
        max_length=2000, pattern="^https?://", examples=["https://example.com/job-ended"]
    )
    events: list[Literal["job.ended"]] = Field(default=["job.ended"], min_length=1)
    secret: SecretStr | None = Field(
        default=None,
        max_length=128,
        description="`whsec_` and the base64 of 24 to 64 bytes, which calls are signed with. "
        "Without one, the answer has one that was made.",
    )


class ImageRequest(BaseModel):
    """How image files become items, where that differs from the model's manifest."""

    model_config = _Request

    resize: Resize | None = None
    interpolation: Interpolation | None = None
    antialias: bool | None = None
    exif: bool | None = Field(default=None, description="Turn photographs as EXIF says.")
    like: ImageLoader | None = Field(default=None, description="As this loader does.")

    def options(self) -> ImageOptions:
        """What is stated."""
        stated: Any = self.model_dump(exclude_none=True)
        options: ImageOptions = stated
        return options


class JobOptions(BaseModel):
    """What is said of a job beside its items."""

    model_config = _Request

    model: str = Field(description="`name@alias`, `name:version`, or `name` for the newest.")
    deadline_s: float | None = Field(
        gt=0, default=None, description="The job ends EXPIRED after this; 7 days by default."
    )
    max_failed: int | str | None = Field(
        default=None, description='If more items fail, a count or `"1%"`, the job is FAILED.'
    )
    items_per_shard: int | None = Field(ge=1, default=None)
    columns: dict[str, str | list[str]] | None = Field(
        default=None,
        description="Input -> the column of a table that it is, or several whose values are.",
    )
    id_column: str | None = Field(
        default=None, description="The column of a table that has the items' ids."
    )
    strict: bool = Field(default=False, description="Refuse everything for one bad item.")
    image: ImageRequest | None = None
    tags: dict[str, str] = Field(default_factory=dict, description="Kept with the job.")
    webhook: WebhookRequest | None = None


class JobRequest(JobOptions):
    """A job to be made."""

    input: JobInput

    def inputs(self, *, owner: str) -> tuple[Inputs, list[str] | None]:
        """The items, and their ids if they have some.

        Raises:
            InputError: There are none.
        """
        given = self.input
        if isinstance(given, UploadInput):
            return StoredUpload(owner=owner, upload_id=given.id), None
        if isinstance(given, ManifestInput):
            # The object alone, and none whose name begins so.
            name = glob.escape(given.uri.rpartition("/")[2])
            return StoredImages.parse(given.uri, Selection(include=[name])), None
        if isinstance(given, ParquetInput):
            return StoredImages.parse(given.uri, Selection(include=["*.parquet", "*.pq"])), None
        if isinstance(given, StoredInput):
            selection = Selection(include=given.include, exclude=given.exclude)
            return StoredImages.parse(given.uri, selection), None
        item_ids = given.item_ids
        if not given.items:
            raise InputError("input.items is empty; give at least one item")
        items = given.items
        if isinstance(items, dict):
            return {name: with_bytes(each, where=name) for name, each in items.items()}, item_ids
        return with_bytes(items, where="items"), item_ids
