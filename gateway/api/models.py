"""/v1/models: the models that jobs may name."""

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope

router = APIRouter(prefix="/v1/models", tags=["models"])


class ModelsDocument(BaseModel):
    """The names of all models."""

    data: list[str]


@router.get("")
def list_models(deployment: TheDeployment, caller: Caller) -> ModelsDocument:
    """The models."""
    caller.require(Scope.MODELS_READ)
    return ModelsDocument(data=list(deployment.models.names()))
