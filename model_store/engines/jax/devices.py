"""JAX in this process: the device that computes, and how it takes memory and threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from model_store.engines.keras_setup import import_keras, plain_jax

Platform = Literal["cpu", "gpu", "tpu"]

#: The threads that share the work of a call on the CPU, read once, when JAX begins.
_THREADS = "NPROC"
#: A 64th of a device's memory for a layer's output in a call, within these limits. A device that
#: does not say what it has gets the least.
_PART_OF_MEMORY = 64
_LEAST_CALL_BYTES, _MOST_CALL_BYTES = 64 * 2**20, 2**30


def import_jax() -> Any:
    """The `jax` module, with Keras on it; see `import_keras`."""
    import_keras("jax")
    return plain_jax()


def set_up_to_predict() -> Any:
    """Have a call on the CPU compute on one core, in the thread that makes it (ADR 0011, 0013).

    If JAX has begun to compute in this process, it goes on as it does.

    Returns:
        The `jax` module.
    """
    # Importing Keras begins to compute.
    jax = plain_jax()
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # noqa: FBT003 - JAX's signature
    with _one_thread():
        jax.devices()
    return import_jax()


def device_here() -> Any:
    """The device that computes: JAX's first."""
    return import_jax().devices()[0]


def platform_of(device: Any) -> Platform:
    """What kind of device it is."""
    platform: Platform = device.platform
    return platform


def call_bytes_of(device: Any) -> int:
    """The most bytes of a layer's output in a call: a small part of what the device has.

    Several calls are in hand, layers hold more than their outputs, and models are loaded beside.
    """
    has_bytes = int((device.memory_stats() or {}).get("bytes_limit", 0))
    return max(_LEAST_CALL_BYTES, min(_MOST_CALL_BYTES, has_bytes // _PART_OF_MEMORY))


def compiler_options(platform: Platform) -> dict[str, Any]:
    """How XLA compiles: for one core a call on the CPU, for the same sums each time on a GPU."""
    if platform == "cpu":
        # What only reads weights would be ready at once, by the dozen, and XLA then has its one
        # thread compute half of the network: calls of several threads would wait for each other.
        # Scheduled for memory, it is computed where it is needed.
        return {
            "xla_cpu_multi_thread_eigen": False,
            "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
        }
    if platform == "gpu":
        return {"xla_gpu_deterministic_ops": True}
    return {}


@contextmanager
def _one_thread() -> Iterator[None]:
    given = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        if given is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = given
