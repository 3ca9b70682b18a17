"""The configuration of a model whose layers compute in another dtype than it was saved with."""

from typing import Any, Literal

#: `float64` in place of whatever a layer computes in; `bfloat16` in place of float32 alone, with
#: weights in float32.
ComputeDtype = Literal["float64", "bfloat16"]

_POLICIES = {"float64": "float64", "bfloat16": "mixed_bfloat16"}
_LESS_THAN_FLOAT64 = {"float16", "bfloat16", "float32"}
#: Bring raw numbers, of any size, to a common scale: 8 bits of 1,234.5 say little about 0.5.
_KEPT_IN_FLOAT32 = {"Normalization", "Rescaling"}


def computing_in(config: Any, dtype: ComputeDtype) -> Any:
    """The configuration of a model all of whose layers compute in `dtype`."""
    if isinstance(config, list):
        return [computing_in(part, dtype) for part in config]
    if not isinstance(config, dict):
        return config
    name = config.get("class_name")
    if name == "DTypePolicy":
        return _policy(config, dtype)
    if dtype == "bfloat16" and name in _KEPT_IN_FLOAT32:
        return config
    changed = {key: computing_in(part, dtype) for key, part in config.items()}
    is_input = name == "InputLayer" and dtype == "float64"
    if is_input and config["config"].get("dtype") in _LESS_THAN_FLOAT64:
        # Some layers compute in the dtype of their input.
        changed["config"]["dtype"] = dtype
    return changed


def _policy(policy: dict[str, Any], dtype: ComputeDtype) -> dict[str, Any]:
    if dtype == "bfloat16" and policy["config"].get("name") != "float32":
        return policy
    return {**policy, "config": {"name": _POLICIES[dtype]}}
