"""/v1/uploads: callers put items into the store themselves, past the gateway."""

from datetime import datetime
from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from producer.inputs.uploads import MOST_PARTS, UploadPart, Uploads

router = APIRouter(prefix="/v1/uploads", tags=["jobs"])

_Request = ConfigDict(extra="forbid")


class UploadItem(BaseModel):
    """One object that is going to be put."""

    model_config = _Request

    id: str = Field(
        min_length=1,
        max_length=1024,
        description="The item's id, if it is an image, and the name of any other file. Its suffix "
        "says what it is: `.npy`, `.tar`, `.parquet`, `.csv` and so on; anything else is an image.",
    )
    bytes: int | None = Field(
        default=None, ge=0, description="Its size; the store takes no other then."
    )
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="Its digest; a worker computes nothing else then.",
    )


class UploadRequest(BaseModel):
    """What is going to be put."""

    model_config = _Request

    items: list[UploadItem] = Field(min_length=1, max_length=MOST_PARTS)


class UploadPartDocument(BaseModel):
    """How to put one object: `PUT url`, with these headers."""

    id: str
    url: str
    headers: dict[str, str]


class UploadDocument(BaseModel):
    """An upload, to be named as a job's input: `{"type": "upload", "id": …}`."""

    id: str
    expires_at: datetime = Field(description="Until then the URLs are good.")
    parts: list[UploadPartDocument]


@router.post("", status_code=HTTPStatus.CREATED)
def create_upload(
    request: UploadRequest, deployment: TheDeployment, caller: Caller
) -> UploadDocument:
    """Reserve an upload, and get a URL for each item, to `PUT` it into the store."""
    caller.require(Scope.JOBS_WRITE)
    uploads = Uploads(objects=deployment.objects)
    parts = [
        UploadPart(id=item.id, size_bytes=item.bytes, sha256=item.sha256) for item in request.items
    ]
    upload = uploads.create(caller.owner, parts)
    signed = zip(parts, uploads.signed(upload), strict=True)
    return UploadDocument(
        id=upload.id,
        expires_at=upload.expires_at,
        parts=[
            UploadPartDocument(id=part.id, url=put.url, headers=put.headers) for part, put in signed
        ],
    )
