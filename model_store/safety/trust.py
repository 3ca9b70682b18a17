"""Which models a process may load: by name, by signature, and with which code of others."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from fornada.errors import ModelRefusedError
from fornada.settings import Settings
from fornada.trust.deployment_keys import DeploymentKeys
from model_store.safety.allowed_objects import check_entries
from model_store.safety.signing import PublicKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """What the operator allows a process to load; by default, every model that is safe."""

    #: Globs, one of which a model's name must match.
    accepted_models: tuple[str, ...] = ("*",)
    #: If set, every manifest must be signed with its private key.
    public_key: PublicKey | None = None
    #: Code of others that a model may use: entries as in `allowed_objects`.
    allowed_objects: frozenset[str] = field(default_factory=frozenset)
    #: Sign what the wall found, and verify it.
    deployment_keys: DeploymentKeys = field(default_factory=DeploymentKeys)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Trust":
        """The trust that the settings describe.

        Raises:
            ConfigError: A key cannot be read, or an allowed object is not written so.
            MissingExtraError: There is a public key, and `cryptography` is not installed.
        """
        objects, layers = names_in(settings.allowed_objects), names_in(settings.allowed_layers)
        check_entries(objects, setting="FORNADA_ALLOWED_OBJECTS")
        check_entries(layers, setting="FORNADA_ALLOWED_LAYERS")
        key = settings.model_public_key
        return cls(
            accepted_models=names_in(settings.accepted_models or "*"),
            public_key=None if key is None else PublicKey.read(Path(key)),
            allowed_objects=frozenset({*objects, *layers}),
            deployment_keys=DeploymentKeys.from_settings(settings),
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
