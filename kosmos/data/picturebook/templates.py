"""Templates: Example -> Document, the prompt unsupervised and the answer supervised at the end.

Pictures come first, as in the paper. Prompts keep the paper's wording where it has one: "An image of",
"Question: ... Answer: ...", "Here are three images: ... The following image is: ... Is it correct?".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from kosmos.data.picturebook.worlds.pages import entry_text
from kosmos.document import Document, Segment, Text
from kosmos.errors import UsageError
from kosmos.example import Example

_GIVEN = {3: "three", 4: "four", 8: "eight"}
RAVEN_CANDIDATES = 6


def template(example: Example, answer: str | None = None) -> Document:
    """The prompt and, as supervised text at the end, the gold answer or the one given."""
    return _FORMS[_form(example)](example, answer)


def training_document(example: Example) -> Document:
    """What training sees: captions supervised whole, and every answer that can be known from what stands before it."""
    return _TRAINING.get(_form(example), lambda e: template(e))(example)


def _form(example: Example) -> str:
    form = example.fields.get("form")
    if form not in _FORMS:
        raise UsageError(f"example {example.id}: no template for the form {form!r}")
    return str(form)


def _answered(answer: str) -> Text:
    return Text(f" {answer}")


def _caption(example: Example, answer: str | None) -> Document:
    fields = example.fields
    return Document(*example.images, _prompt(fields["prompt"]), _answered(answer or fields["answer"]))


def _caption_training(example: Example) -> Document:
    return Document(*example.images, Text(f"{example.fields['prompt']} {example.fields['answer']}"))


def _prompt(text: str) -> Text:
    return Text(text, supervised=False)


def _question(example: Example, answer: str | None) -> Document:
    prompt = _prompt(f"Question: {example.fields['question']} Answer:")
    return Document(*example.images, prompt, _answered(answer or example.fields["answer"]))


def _question_training(example: Example) -> Document:
    """The question, and what else can be asked of the picture: the answers then depend on the question."""
    first = (example.fields["question"], example.fields["answer"])
    return Document(*example.images, *_turns([first, *example.fields.get("more", ())]))


def _turns(turns: Sequence[Sequence[str]]) -> Iterator[Segment]:
    for number, (question, answer) in enumerate(turns):
        yield _prompt(f"{' ' if number else ''}Question: {question} Answer:")
        yield _answered(answer)


def _dialogue(example: Example, answer: str | None) -> Document:
    (question, first), (follow_up, last) = example.fields["turns"]
    prompt = _prompt(f"Question: {question} Answer: {first} Question: {follow_up} Answer:")
    return Document(*example.images, prompt, _answered(answer or last))


def _dialogue_training(example: Example) -> Document:
    return Document(*example.images, *_turns(example.fields["turns"]))


def _binding(example: Example, answer: str | None) -> Document:
    segments: list[Segment] = []
    for image, word in zip(example.images, example.fields["demonstrations"]):
        segments += [image, _prompt(f"This is a {word}.")]
    segments += [example.images[-1], _prompt("This is a"), _answered(answer or example.fields["answer"])]
    return Document(*segments)


def _binding_training(example: Example) -> Document:
    """A word is supervised from its second use on: the first one cannot be known."""
    segments: list[Segment] = []
    told: set[str] = set()
    for image, word in zip(example.images, example.fields["demonstrations"]):
        segments += [image, _prompt("This is a"), Text(f" {word}", supervised=word in told), _prompt(".")]
        told.add(word)
    segments += [example.images[-1], _prompt("This is a"), _answered(example.fields["answer"])]
    return Document(*segments)


def raven_context(example: Example, candidate: int) -> Document:
    """The paper's closed form for one candidate; ends before "Yes" or "No"."""
    given = example.fields["given"]
    return Document(
        _prompt(f"Here are {_GIVEN[given]} images:"),
        *example.images[:given],
        _prompt("The following image is:"),
        example.images[given + candidate],
        _prompt("Is it correct?"),
    )


def raven_contexts(example: Example) -> list[Document]:
    """One Document per candidate, in the order of the candidates."""
    return [raven_context(example, candidate) for candidate in range(RAVEN_CANDIDATES)]


def _raven(example: Example, answer: str | None) -> Document:
    """With the right candidate, so the answer is Yes."""
    return raven_context(example, example.fields["gold"]) + _answered(answer or "Yes")


def _raven_training(example: Example) -> Document:
    shown = example.fields["shown"]
    return raven_context(example, shown) + _answered("Yes" if shown == example.fields["gold"] else "No")


def _page(example: Example, answer: str | None) -> Document:
    """Pictures and lines in turn; everything is supervised, nothing is asked."""
    segments: list[Segment] = []
    for image, (word, definition) in zip(example.images, example.fields["entries"], strict=True):
        segments += [image, Text(entry_text(word, definition))]
    return Document(*segments)


def _text(example: Example, answer: str | None) -> Document:
    return Document(Text(example.fields["text"]))


_FORMS: dict[str, Callable[[Example, str | None], Document]] = {
    "caption": _caption,
    "question": _question,
    "dialogue": _dialogue,
    "binding": _binding,
    "raven": _raven,
    "page": _page,
    "text": _text,
}
_TRAINING: dict[str, Callable[[Example], Document]] = {
    "caption": _caption_training,
    "question": _question_training,
    "dialogue": _dialogue_training,
    "binding": _binding_training,
    "raven": _raven_training,
}
