"""Chat format: turns to a Document in a named format. The format's name is stored with the weights.

`kosmos-qa` is the paper's prompt for questions about pictures ("Question: ... Answer: ..."), turn after turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kosmos.document import Document, End, Segment, Text
from kosmos.errors import UsageError, nearest

Role = Literal["user", "assistant"]
Content = Document | Segment | str

DEFAULT_FORMAT = "kosmos-qa"


@dataclass(frozen=True)
class Turn:
    """One turn: who speaks, and what (text and pictures in order)."""

    role: Role
    content: Document

    def __post_init__(self) -> None:
        if self.role not in ("user", "assistant"):
            raise UsageError(f"a turn's role is 'user' or 'assistant', not '{self.role}'")


def chat_document(turns: Iterable[Turn | tuple[Role, Content]], format: str = DEFAULT_FORMAT) -> Document:
    """Turns as one Document in the named format: only the assistant's text is supervised.

    When the user speaks last, the Document is a prompt that ends where the assistant's answer begins. Raises
    UsageError for an unknown format, and for turns that do not alternate starting with the user.
    """
    made = [_turn(turn) for turn in turns]
    for index, turn in enumerate(made):
        if turn.role != ("user", "assistant")[index % 2]:
            raise UsageError(f"turn {index + 1} is the {turn.role}'s: turns alternate, starting with the user")
    if not made:
        raise UsageError("a chat needs at least one turn")
    return get_format(format)(made)


def get_format(name: str) -> Callable[[Sequence[Turn]], Document]:
    """The format called `name`. Raises UsageError when there is none."""
    if name not in _FORMATS:
        raise UsageError(f"no chat format '{name}'{nearest(name, _FORMATS)}; there are: {', '.join(_FORMATS)}")
    return _FORMATS[name]


def _turn(turn: Turn | tuple[Role, Content]) -> Turn:
    if isinstance(turn, Turn):
        return turn
    role, content = turn
    return Turn(role, content if isinstance(content, Document) else Document(content))


def _question_answer(turns: Sequence[Turn]) -> Document:
    segments: list[Segment] = []
    for index, turn in enumerate(turns):
        parts = list(turn.content)
        if turn.role == "user":
            # Pictures of the first words come before the question, as in the paper's prompts.
            leading = next((i for i, part in enumerate(parts) if isinstance(part, Text)), len(parts))
            segments += parts[:leading]
            segments.append(Text("Question: ", supervised=False))
            segments += [_quiet(part) for part in parts[leading:]]
            segments.append(Text(" Answer:", supervised=False))
            continue
        segments.append(Text(" ", supervised=False))
        segments += [Text(part.text) if isinstance(part, Text) else part for part in parts]
        if index + 1 < len(turns):
            # The answer's end is what tells the model to stop.
            segments.append(End())
    return Document(*segments)


def _quiet(part: Segment) -> Segment:
    return Text(part.text, supervised=False) if isinstance(part, Text) else part


_FORMATS: dict[str, Callable[[Sequence[Turn]], Document]] = {"kosmos-qa": _question_answer}
