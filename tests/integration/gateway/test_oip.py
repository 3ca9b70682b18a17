"""The Open Inference Protocol, as `tritonclient` speaks it, and as JSON."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from tritonclient.utils import triton_to_np_dtype

from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from gateway.auth.scopes import Scope
from producer.testing import in_memory_client

from .conftest import CallerOf
from .serving import served
from .test_predict import ITEMS, caller_of_client, png

#: A model of everything that a tensor may be.
INPUTS = [
    InputTensor(
        name="photo", dtype="uint8", shape=[2, 2], image=ImagePreprocessing(color="grayscale")
    ),
    InputTensor(name="text", dtype="string", shape=[]),
    InputTensor(name="tokens", dtype="int32", shape=[None]),
    InputTensor(name="weights", dtype="bfloat16", shape=[2]),
]
OUTPUTS = [
    OutputTensor(name="sum", dtype="int64", shape=[], kind="tensor"),
    OutputTensor(name="echo", dtype="string", shape=[], kind="tensor"),
    OutputTensor(name="boxes", shape=[None, 4], kind="tensor"),
    OutputTensor(name="tags", shape=[2], kind="multilabel", classes=["old", "new"]),
]


def _compute(rows: dict[str, np.ndarray]) -> dict[str, Any]:
    count = len(rows["text"])
    return {
        "sum": rows["photo"].reshape(count, -1).sum(axis=1) + rows["tokens"].sum(axis=1),
        "echo": [text.decode() + "!" for text in rows["text"]],
        "boxes": np.ones((count, 3, 4), np.float32) * rows["weights"][:, :1, np.newaxis],
        "tags": np.tile(np.float32([0.25, 0.75]), (count, 1)),
    }


@pytest.fixture(scope="module")
def caller_of_many() -> Iterator[TestClient]:
    """A caller of the model of everything, `many`."""
    with in_memory_client(model="many", inputs=INPUTS, outputs=OUTPUTS, predict=_compute) as client:
        yield caller_of_client(client)


@pytest.fixture(scope="module")
def speaker(caller_of_many: TestClient) -> Iterator[tuple[Any, dict[str, str]]]:
    """tritonclient, and the headers with its key."""
    with served(caller_of_many.app) as url:
        client = triton.InferenceServerClient(url.removeprefix("http://"))
        yield client, {"Authorization": caller_of_many.headers["Authorization"]}
        client.close()


def _given(name: str, array: np.ndarray, datatype: str, *, binary: bool = True) -> Any:
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def _bfloat16(name: str, array: np.ndarray) -> Any:
    # Newer clients take dtypes that NumPy lacks; the bytes are what counts.
    given = triton.InferInput(name, list(array.shape), "BF16")
    given._raw_data = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    given._parameters["binary_data_size"] = len(given._raw_data)
    return given


def _inputs(photo: np.ndarray, photo_datatype: str, *, binary: bool = True) -> list[Any]:
    return [
        _given("photo", photo, photo_datatype),
        _given("text", np.array(["été".encode(), b"b"], object), "BYTES", binary=binary),
        _given("tokens", np.int32([[1, 2], [3, 4]]), "INT32", binary=binary),
        _bfloat16("weights", np.float32([[0.5, 1], [2, 1]])),
    ]


def _as_arrays(result: Any) -> dict[str, list[Any]]:
    return {output.name: result.as_numpy(output.name).tolist() for output in OUTPUTS}


EXPECTED = {
    "sum": [3, 30 + 7 - 1],
    "echo": ["été!".encode(), b"b!"],
    "boxes": [[[0.5] * 4] * 3, [[2.0] * 4] * 3],
    "tags": [[0.25, 0.75]] * 2,
}
FILES = np.array([png(ITEMS[0]), png(ITEMS[2])], object)


@pytest.mark.parametrize(
    ("photo", "datatype"), [(ITEMS[[0, 2]], "UINT8"), (FILES, "BYTES"), (FILES[:, None], "BYTES")]
)
def test_tritonclient_infers_by_binary_tensors_and_by_image_files(
    speaker: tuple[Any, dict[str, str]], photo: np.ndarray, datatype: str
) -> None:
    client, headers = speaker

    result = client.infer("many", _inputs(photo, datatype), headers=headers, request_id="mine")
    by_version = client.infer(
        "many", _inputs(photo, datatype), model_version="1", headers=headers, timeout=5_000_000
    )

    assert EXPECTED == _as_arrays(result) == _as_arrays(by_version)
    response = result.get_response()
    assert ("many", "1", "mine") == (
        response["model_name"],
        response["model_version"],
        response["id"],
    )


def test_tritonclient_chooses_outputs_and_asks_for_classes(
    speaker: tuple[Any, dict[str, str]],
) -> None:
    client, headers = speaker
    wanted = [
        triton.InferRequestedOutput("tags", class_count=2),
        triton.InferRequestedOutput("echo", binary_data=False),
        triton.InferRequestedOutput("sum", binary_data=True),
    ]

    result = client.infer(
        "many@prod", _inputs(FILES, "BYTES", binary=False), outputs=wanted, headers=headers
    )

    assert ["tags", "echo", "sum"] == [o["name"] for o in result.get_response()["outputs"]]
    assert [[b"0.750000:1:new", b"0.250000:0:old"]] * 2 == result.as_numpy("tags").tolist()
    assert (["été!", "b!"], EXPECTED["sum"]) == (
        result.as_numpy("echo").tolist(),
        result.as_numpy("sum").tolist(),
    )


def test_tritonclient_sees_server_and_models(speaker: tuple[Any, dict[str, str]]) -> None:
    client, headers = speaker

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("many", "1", headers=headers)
    assert not client.is_model_ready("few", headers=headers)
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert {
        "name": "many",
        "versions": ["1"],
        "platform": "keras",
        "inputs": [
            {"name": "photo", "datatype": "UINT8", "shape": [-1, 2, 2]},
            {"name": "text", "datatype": "BYTES", "shape": [-1]},
            {"name": "tokens", "datatype": "INT32", "shape": [-1, -1]},
            {"name": "weights", "datatype": "BF16", "shape": [-1, 2]},
        ],
        "outputs": [
            {"name": "sum", "datatype": "INT64", "shape": [-1]},
            {"name": "echo", "datatype": "BYTES", "shape": [-1]},
            {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
            {"name": "tags", "datatype": "FP32", "shape": [-1, 2]},
        ],
    } == client.get_model_metadata("many", headers=headers)
    with pytest.raises(triton.InferenceServerException, match="has no key"):
        client.get_model_metadata("many")
    broken = np.array([b"GIF89a", FILES[0]], object)
    with pytest.raises(triton.InferenceServerException, match="1 of 2 items failed; item 0: "):
        client.infer("many", _inputs(broken, "BYTES"), headers=headers)


JSON_INPUT = {"name": "inputs", "shape": [2, 2, 2], "datatype": "INT64", "data": list(range(8))}
PATH = "/v2/models/looks/infer"


def test_json_goes_in_and_out_flat_or_nested(caller: TestClient) -> None:
    flat = caller.post(PATH, json={"inputs": [JSON_INPUT]})
    nested = caller.post(
        "/v2/models/looks/versions/1/infer",
        json={"inputs": [{**JSON_INPUT, "data": [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]}]},
    )

    assert {
        "model_name": "looks",
        "model_version": "1",
        "outputs": [
            {"name": "outputs", "datatype": "FP32", "shape": [2, 3], "data": [1, 0, 0, 0, 1, 0]}
        ],
    } == flat.json()
    assert flat.json() == nested.json()


@pytest.mark.parametrize(
    "datatype",
    ["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "BOOL"],
)
def test_whole_numbers_of_every_size_are_those_of_the_model(
    caller: TestClient, datatype: str
) -> None:
    array = np.ones((1, 2, 2), triton_to_np_dtype(datatype))

    for binary in (True, False):
        given = _given("inputs", array, datatype, binary=binary)
        body, size = triton.InferenceServerClient.generate_request_body([given])
        headers = {} if size is None else {"Inference-Header-Content-Length": str(size)}
        answer = caller.post(PATH, content=body, headers=headers)
        assert HTTPStatus.OK == answer.status_code, answer.text


@pytest.mark.parametrize(
    ("datatype", "dtype"), [("FP16", np.float16), ("FP32", np.float32), ("FP64", np.float64)]
)
def test_floats_of_every_size_keep_their_values(datatype: str, dtype: Any) -> None:
    def echo(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"echo": rows.astype(np.float64)}

    values = np.array([[0.5, -1.25]], dtype)
    with in_memory_client(
        model="m",
        inputs=[InputTensor(name="x", dtype=np.dtype(dtype).name, shape=[2])],  # type: ignore[arg-type]  # one of them
        outputs=[OutputTensor(name="echo", dtype="float64", shape=[2], kind="tensor")],
        predict=echo,
    ) as client:
        asks = caller_of_client(client)
        body, size = triton.InferenceServerClient.generate_request_body(
            [_given("x", values, datatype)]
        )
        answer = asks.post(
            "/v2/models/m/infer",
            content=body,
            headers={"Inference-Header-Content-Length": str(size)},
        )
        seen = asks.get("/v2/models/m").json()["inputs"][0]["datatype"]

    found = triton.InferenceServerClient.parse_response_body(
        answer.content, header_length=int(answer.headers["Inference-Header-Content-Length"])
    )
    assert ([[0.5, -1.25]], datatype) == (found.as_numpy("echo").tolist(), seen)


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"name": "other"}, "input 'other' is none of looks:1; give 'inputs'"),
        ({"datatype": "FP8"}, "datatype 'FP8'"),
        ({"datatype": "BYTES"}, "its data are not texts"),
        ({"shape": [2, 4]}, "has shape [2, 4]; give the items' axis"),
        ({"shape": [3, 2, 2]}, "declares [3, 2, 2], 12 values"),
        ({"shape": [2**40, 2, 2]}, "values, and its data are others"),
        ({"shape": [-1, 2, 2]}, "inputs.0.shape.0"),
        ({"data": ["a"] * 8}, "its data are not all numbers"),
        ({"data": [1, [2]]}, "its data are others"),
        ({"data": None}, "has no data"),
        ({"data": list(range(300, 308))}, "do not fit uint8"),
        ({"parameters": {"binary_data_size": 8}}, "0 bytes of the body are left"),
    ],
)
def test_what_is_wrong_is_said_in_the_protocols_own_shape(
    caller: TestClient, changed: dict[str, Any], fact: str
) -> None:
    answer = caller.post(PATH, json={"inputs": [{**JSON_INPUT, **changed}]})

    assert HTTPStatus.UNPROCESSABLE_ENTITY == answer.status_code
    assert ["error"] == list(answer.json())
    assert fact in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "request_of", "status"),
    [
        ("POST", PATH, {"content": b"{"}, HTTPStatus.UNPROCESSABLE_ENTITY),
        ("POST", PATH, {"json": {"inputs": []}}, HTTPStatus.UNPROCESSABLE_ENTITY),
        (
            "POST",
            PATH,
            {"content": b"{}", "headers": {"Inference-Header-Content-Length": "9"}},
            HTTPStatus.UNPROCESSABLE_ENTITY,
        ),
        (
            "POST",
            PATH,
            {"json": {"inputs": [JSON_INPUT], "outputs": [{"name": "x"}]}},
            HTTPStatus.BAD_REQUEST,
        ),
        (
            "POST",
            PATH,
            {"json": {"inputs": [JSON_INPUT], "parameters": {"timeout": -1}}},
            HTTPStatus.BAD_REQUEST,
        ),
        ("POST", "/v2/models/hats/infer", {"json": {"inputs": [JSON_INPUT]}}, HTTPStatus.NOT_FOUND),
        ("GET", "/v2/models/hats", {}, HTTPStatus.NOT_FOUND),
        ("GET", "/v2/models/looks@prod/versions/1", {}, HTTPStatus.BAD_REQUEST),
        ("GET", "/v2/models/looks/versions/x", {}, HTTPStatus.BAD_REQUEST),
        ("GET", "/v2/models/looks/versions/7/ready", {}, HTTPStatus.NOT_FOUND),
    ],
)
def test_a_request_that_cannot_be_served_is_an_error_of_the_protocol(
    caller: TestClient, method: str, path: str, request_of: dict[str, Any], status: HTTPStatus
) -> None:
    answer = caller.request(method, path, **request_of)

    assert (status, ["error"]) == (answer.status_code, list(answer.json()))


def test_binary_elements_that_lie_about_their_length_are_refused(caller: TestClient) -> None:
    header = (
        b'{"inputs":[{"name":"inputs","shape":[2],"datatype":"BYTES","parameters":'
        b'{"binary_data_size":%d}}]}'
    )
    for data in (b"\xff\xff\xff\xff", b"\1\0\0\0a", b"\1\0\0\0a\1\0\0\0bc", b"\0\0\0"):
        json = header % len(data)
        answer = caller.post(
            PATH,
            content=json + data,
            headers={"Inference-Header-Content-Length": str(len(json))},
        )
        assert HTTPStatus.UNPROCESSABLE_ENTITY == answer.status_code
        assert "elements of BYTES" in answer.json()["error"]


def test_a_key_that_may_not_predict_does_not_infer_but_may_see_models(
    caller_of: CallerOf,
) -> None:
    asks = caller_of(Scope.MODELS_READ)

    assert HTTPStatus.OK == asks.get("/v2/models/looks").status_code
    refused = asks.post(PATH, json={"inputs": [JSON_INPUT]})
    assert (HTTPStatus.FORBIDDEN, ["error"]) == (refused.status_code, list(refused.json()))
