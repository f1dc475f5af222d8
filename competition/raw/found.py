"""What was found in a competition's files, and how sure that is."""

from dataclasses import dataclass, field
from typing import Any, Literal

Surety = Literal["given", "sure", "likely", "guess"]


@dataclass(frozen=True)
class Found:
    """One choice: the value for its line of the data section, how sure it is, and why."""

    value: Any
    surety: Surety
    why: str


@dataclass
class Findings:
    """All choices by key of the data section, what is wrong in train and in test, and what is good to know."""

    chosen: dict[str, Found] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    test_problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def choose(self, key: str, value: Any, surety: Surety, why: str) -> None:
        self.chosen[key] = Found(value, surety, why)
