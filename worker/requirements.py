"""What must be installed for the engine that is set; told without importing it."""

from importlib.util import find_spec

from fornada.errors import MissingExtraError
from fornada.settings import EngineName


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
