"""Calls of `client.predict` become answers: their items read, predicted together, written."""

from collections.abc import Sequence

from fornada.calls.answers import answer_to, check_answer
from fornada.calls.frames import PredictAnswer, RequestFrame, answer_frame
from fornada.errors import FornadaError, InputError, ModelError
from fornada.formats.items import fixed_bytes
from fornada.jobs.items import Items, Placed
from fornada.trust.deployment_keys import DeploymentKeys
from model_store.manifest import ModelManifest
from worker.compute.together import PredictGroups, joined

#: A call, and its items.
Call = tuple[RequestFrame, Items]


def read_calls(
    calls: Sequence[RequestFrame], manifest: ModelManifest, deployment_keys: DeploymentKeys
) -> tuple[list[Call], list[tuple[RequestFrame, bytes]]]:
    """The calls that fit the model with their items, and the others with their refusals."""
    fitting: list[Call] = []
    others: list[tuple[RequestFrame, bytes]] = []
    for call in calls:
        try:
            columns = call.columns(manifest.inputs, model=str(manifest))
            check_answer(
                call.header,
                fixed_bytes(manifest.outputs) * call.header.item_count,
                manifest.outputs,
                model=str(manifest),
            )
        except InputError as exc:
            others.append((call, refusal(call, exc, deployment_keys)))
        else:
            fitting.append((call, Items.of_columns(columns, takes=manifest.inputs)))
    return fitting, others


def answered_calls(
    calls: Sequence[Call],
    predict_groups: PredictGroups,
    manifest: ModelManifest,
    deployment_keys: DeploymentKeys,
) -> list[tuple[RequestFrame, bytes]]:
    """Predict all together; if that fails, each alone, so that none fails for another's rows."""
    if not calls:
        return []
    try:
        shares = _predicted(calls, predict_groups, manifest)
    except ModelError as exc:
        if len(calls) == 1:
            return [(calls[0][0], refusal(calls[0][0], exc, deployment_keys))]
        return [
            pair
            for call in calls
            for pair in answered_calls([call], predict_groups, manifest, deployment_keys)
        ]
    return [
        (call, _answer(call, share, manifest, deployment_keys))
        for (call, _), share in zip(calls, shares, strict=True)
    ]


def _predicted(
    calls: Sequence[Call], predict_groups: PredictGroups, manifest: ModelManifest
) -> list[Placed]:
    """The outputs and failed items of each call."""
    counts = [call.header.item_count for call, _ in calls]
    items = joined([items for _, items in calls], counts)
    predicted = predict_groups([group.rows for group in items.groups])
    return items.placed(predicted, gives=manifest.outputs, item_count=sum(counts)).parts(counts)


def _answer(
    call: RequestFrame, placed: Placed, manifest: ModelManifest, deployment_keys: DeploymentKeys
) -> bytes:
    try:
        return answer_to(
            call.header,
            *placed,
            manifest.outputs,
            model=str(manifest),
            deployment_keys=deployment_keys,
        )
    except InputError as exc:
        return refusal(call, exc, deployment_keys)


def refusal(call: RequestFrame, exc: FornadaError, deployment_keys: DeploymentKeys) -> bytes:
    """An answer that says why there are no outputs."""
    header = PredictAnswer(
        id=call.header.id,
        item_count=0,
        output_count=0,
        error=type(exc).__name__,
        detail=exc.public_text[:2000],
    )
    return answer_frame(header, deployment_keys=deployment_keys)
