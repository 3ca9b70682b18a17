"""What kind of machine this is, as far as an engine's speed and its low bits depend on it."""

import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_NAMES = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
#: Instructions that engines choose their code by. Others come and go with the kernel's release.
_INSTRUCTIONS = re.compile(r"(avx|amx|fma|f16c|sse4|asimd|bf16|i8mm|sve)\w*")


def machine_kind(*, cores: int) -> str:
    """Processor, instructions and granted cores: `x86_64 AMD EPYC … avx2 fma, 2 cores`.

    Processes of one machine, or of machines alike, get the same text.
    """
    facts = _cpu_facts()
    named = [facts[name] for name in _NAMES if name in facts] or [platform.processor()]
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    instructions = sorted(flag for flag in flags if _INSTRUCTIONS.fullmatch(flag))
    words = [platform.machine(), *named, *instructions]
    return f"{' '.join(filter(None, words))}, {cores} cores"


def _cpu_facts() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        first, _, _ = _CPUINFO.read_text().partition("\n\n")
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
