"""Have a JAX program say that it looked up indices which a table does not have.

JAX gives NaN or the last row for them, where TensorFlow fails.
"""

from collections.abc import Callable
from typing import Any

from model_store.engines.jax.devices import import_jax


def looks_up(program: Any) -> bool:
    """Whether a traced program, or one in it, looks up indices in a table."""
    jaxpr = getattr(program, "jaxpr", program)
    return any(
        equation.primitive.name == "gather" or any(map(looks_up, _programs(equation.params)))
        for equation in jaxpr.eqns
    )


def _programs(params: dict[str, Any]) -> list[Any]:
    """The programs in a call, loop or branch."""
    values = [
        each
        for value in params.values()
        for each in (value if isinstance(value, tuple | list) else [value])
    ]
    return [each for each in values if hasattr(getattr(each, "jaxpr", each), "eqns")]


def with_index_check(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which returns an error of `checkify` beside what it gives."""
    import_jax()
    from jax.experimental import checkify  # noqa: PLC0415 - as in `import_jax`

    checked: Callable[..., Any] = checkify.checkify(function, errors=checkify.index_checks)
    return checked


def check_indices(error: Any) -> None:
    """Check what a call of `with_index_check` found.

    Raises:
        ValueError: It looked up what a table does not have.
    """
    if error.get() is not None:
        raise ValueError("an index is outside of its table, as a token without an embedding")
