"""The engines by name: what each needs installed, and how it is opened."""

from importlib.util import find_spec

from fornada.errors import MissingExtraError
from fornada.settings import EngineName
from model_store.engines.interface import Engine
from model_store.engines.keras import KerasEngine
from model_store.engines.openvino import OpenVINOEngine


def open_engine(name: EngineName, *, threads: int) -> Engine:
    """Import what FORNADA_ENGINE names, which takes up to seconds; once in a process.

    Args:
        name: The setting.
        threads: Cores that predict may use.

    Raises:
        MissingExtraError: It is not installed.
        ConfigError: This machine or process cannot run it.
        UsageError: TensorFlow has begun to compute in this process.
    """
    require_engine(name)
    match name:
        case "keras":
            return KerasEngine(threads=threads, exact=False)
        case "keras-exact":
            return KerasEngine(threads=threads, exact=True)
        case "openvino":
            return OpenVINOEngine(threads=threads, precision="float32")
        case "openvino-bf16":
            return OpenVINOEngine(threads=threads, precision="bfloat16")


def require_engine(name: EngineName) -> None:
    """Check that what FORNADA_ENGINE names is installed, without importing it.

    Raises:
        MissingExtraError: It is not; says what to install.
    """
    package, extra = (
        ("tensorflow", "worker") if name.startswith("keras") else ("openvino", "openvino")
    )
    if find_spec(package) is None:
        raise MissingExtraError(
            f"{package} is not installed, and a worker with FORNADA_ENGINE={name} needs it; "
            f"pip install 'fornada[{extra}]', or set FORNADA_ENGINE to the engine that is here"
        )
