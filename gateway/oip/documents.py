"""What the protocol's endpoints take and give as JSON."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from fornada import __version__
from fornada.tensors import InputTensor, OutputTensor
from gateway.oip.datatypes import datatype_of
from model_store.manifest import ModelManifest

_Sides = Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=33)]
Parameters = dict[str, bool | int | float | str | None]


class ServerDocument(BaseModel):
    """The server."""

    name: str = "fornada"
    version: str = __version__
    extensions: list[str] = ["binary_tensor_data", "classification"]


class LiveDocument(BaseModel):
    """Whether the server lives."""

    live: bool = True


class ReadyDocument(BaseModel):
    """Whether the server can answer."""

    ready: bool = True


class ModelReadyDocument(BaseModel):
    """Whether a model can be asked."""

    name: str
    ready: bool = True


class ErrorDocument(BaseModel):
    """Why a request failed."""

    error: str


class TensorDocument(BaseModel):
    """An input or output of a model; -1 for the items' axis and for sides that vary."""

    name: str
    datatype: str
    shape: list[int]

    @classmethod
    def of(cls, tensor: InputTensor | OutputTensor) -> Self:
        """The document of a tensor."""
        sides = [-1 if side is None else side for side in tensor.shape]
        return cls(name=tensor.name, datatype=datatype_of(tensor.dtype), shape=[-1, *sides])


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str = "keras"
    inputs: list[TensorDocument]
    outputs: list[TensorDocument]

    @classmethod
    def of(cls, model: ModelManifest, versions: list[int]) -> Self:
        """The document of a version, beside the others that there are."""
        return cls(
            name=model.name,
            versions=[str(version) for version in versions],
            inputs=[TensorDocument.of(tensor) for tensor in model.inputs],
            outputs=[TensorDocument.of(tensor) for tensor in model.outputs],
        )


class GivenTensor(BaseModel):
    """An input of a request, whose values follow the JSON if it states `binary_data_size`."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=200)
    shape: _Sides
    datatype: str
    parameters: Parameters = Field(default_factory=dict)
    data: list[Any] | None = None


class WantedOutput(BaseModel):
    """An output that a request wants."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=200)
    parameters: Parameters = Field(default_factory=dict)


class InferRequest(BaseModel):
    """The JSON of a request."""

    model_config = ConfigDict(extra="ignore")

    id: str | None = Field(default=None, max_length=1000)
    parameters: Parameters = Field(default_factory=dict)
    inputs: list[GivenTensor] = Field(min_length=1, max_length=64)
    outputs: list[WantedOutput] = Field(max_length=64, default_factory=list)


class AnsweredTensor(BaseModel):
    """An output of an answer, whose values follow the JSON if it states `binary_data_size`."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferResponse(BaseModel):
    """The JSON of an answer."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[AnsweredTensor]
