"""Which models a process may load: by name, by signature, and with which custom layers."""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from fornada.errors import ConfigError, ModelRefusedError
from fornada.settings import Settings
from model_store.safety.signing import PublicKey

_LAYER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """What the operator allows a process to load; by default, every model that is safe."""

    #: Globs, one of which a model's name must match.
    accepted_models: tuple[str, ...] = ("*",)
    #: If set, every manifest must be signed with its private key.
    public_key: PublicKey | None = None
    #: Custom layers that a model may use, as `package.module:ClassName`.
    allowed_layers: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Trust":
        """The trust that the settings describe.

        Raises:
            ConfigError: The public key cannot be read, or a layer is not written so.
            MissingExtraError: There is a public key, and `cryptography` is not installed.
        """
        layers = names_in(settings.allowed_layers)
        for layer in layers:
            if _LAYER.fullmatch(layer) is None:
                raise ConfigError(
                    f"FORNADA_ALLOWED_LAYERS has {layer!r}; write package.module:ClassName, "
                    "separated by commas"
                )
        key = settings.model_public_key
        return cls(
            accepted_models=names_in(settings.accepted_models or "*"),
            public_key=None if key is None else PublicKey.read(Path(key)),
            allowed_layers=frozenset(layers),
        )

    def check_name(self, name: str) -> None:
        """Check that models of this name are accepted.

        Raises:
            ModelRefusedError: They are not.
        """
        if not any(fnmatchcase(name, pattern) for pattern in self.accepted_models):
            raise ModelRefusedError(
                f"model {name!r} is not one that this process accepts "
                f"({', '.join(self.accepted_models)}); submit to other workers, or set "
                "FORNADA_ACCEPTED_MODELS"
            )


def names_in(text: str | None) -> tuple[str, ...]:
    """The names in a comma-separated setting."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
