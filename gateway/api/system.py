"""Whether the gateway lives and can work, and how much work there is."""

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter(tags=["system"])


class HealthDocument(BaseModel):
    """The gateway lives."""

    status: str = "ok"


@router.get("/healthz")
def health() -> HealthDocument:
    """Whether the process answers; nothing else is asked."""
    return HealthDocument()
