"""What a run does about a step whose loss or gradient is infinite or NaN: stop, leave the step out, or go back."""

from __future__ import annotations

from dataclasses import dataclass

from kosmos.errors import ConfigError

# So many of them within a run are no accident.
MOST_IN_A_ROW = 10
MOST_REWINDS = 10


@dataclass(frozen=True)
class NonFinitePolicy:
    """`action` is stop, skip or rewind; `steps` is how far a rewind goes back at least."""

    action: str
    steps: int = 0

    @classmethod
    def parse(cls, text: str) -> NonFinitePolicy:
        """From `stop`, `skip` or `rewind:N`. Raises ConfigError."""
        if text in ("stop", "skip"):
            return cls(text)
        name, _, steps = text.partition(":")
        if name == "rewind" and steps.isdigit() and int(steps) > 0:
            return cls(name, int(steps))
        raise ConfigError(f"on_nonfinite: '{text}' is none of stop, skip and rewind:N (N steps, at least 1)")
