"""What a caller posts to make a job."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fornada.errors import InputError
from producer.inputs.interface import Inputs, StoredImages

_Request = ConfigDict(extra="forbid", allow_inf_nan=False)


class InlineInput(BaseModel):
    """Items in the request itself, 64 KiB at most."""

    model_config = _Request

    type: Literal["inline"]
    items: list[Any] | dict[str, list[Any]] = Field(
        description="An item each, in the shape that the model takes; for several inputs, such a "
        "list by name."
    )
    item_ids: list[str] | None = Field(default=None, description="An id for each item.")


class StoredInput(BaseModel):
    """Objects in the store, which are read where they lie."""

    model_config = _Request

    type: Literal["s3"]
    uri: str = Field(pattern=r"^s3://[^/]+/", description="s3://bucket/prefix/")

    def stored(self) -> StoredImages:
        """The objects."""
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        return StoredImages(bucket=bucket, prefix=prefix)


JobInput = Annotated[InlineInput | StoredInput, Field(discriminator="type")]


class JobRequest(BaseModel):
    """A job to be made."""

    model_config = _Request

    model: str = Field(description="`name@alias`, `name:version`, or `name` for the newest.")
    input: JobInput
    deadline_s: float | None = Field(gt=0, default=None)
    max_failed: int | str | None = None
    items_per_shard: int | None = Field(ge=1, default=None)
    tags: dict[str, str] = Field(default_factory=dict)

    def inputs(self) -> tuple[Inputs, list[str] | None]:
        """The items, and their ids if they have some.

        Raises:
            InputError: There are none.
        """
        if isinstance(self.input, StoredInput):
            return self.input.stored(), None
        if not self.input.items:
            raise InputError("input.items is empty; give at least one item")
        return self.input.items, self.input.item_ids
