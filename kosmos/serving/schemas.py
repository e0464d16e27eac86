"""The forms of requests and answers: OpenAI's, with our extensions; the OpenAPI document is made of them.

What OpenAI's clients may send and we cannot do is accepted at its neutral value only. An unknown field is an error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Zero = Annotated[float, Field(ge=0, le=0)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class Form(BaseModel):
    """Base of all requests: unknown fields are refused, numbers are finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class TextPart(Form):
    type: Literal["text"]
    text: str


class ImageUrl(Form):
    url: str = Field(description="a `data:` URL of a PNG, JPEG, WEBP or GIF (first frame)", min_length=1)
    detail: Literal["auto", "low", "high"] | None = Field(None, description="has no effect")


class ImagePart(Form):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(Form):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    name: str | None = Field(None, description="has no effect")


class StreamOptions(Form):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class DecodingForm(Form):
    """How the answer is made; the fields of chat and completions alike."""

    model: str | None = Field(None, description="the model's id, as /v1/models has it; may be left out")
    max_tokens: int | None = Field(None, ge=0, description="most tokens of an answer, the closing </s> included")
    temperature: float | None = Field(None, ge=0, le=100, description="0, the default, is greedy")
    top_p: float | None = Field(None, gt=0, le=1)
    n: int | None = Field(None, ge=1, description="answers wanted: draws, or the best beams")
    seed: int | None = Field(None, ge=-(1 << 63), lt=1 << 63, description="default: another one each time")
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Zero | None = Field(None, description="not supported: 0 only")
    presence_penalty: Zero | None = Field(None, description="not supported: 0 only")
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = Field(None, description="not supported")
    user: str | None = Field(None, description="has no effect")
    top_k: int | None = Field(None, ge=0, lt=1 << 31, description="extension: draw among the k most probable; 0: all")
    num_beams: int | None = Field(None, ge=1, description="extension: beam search")
    length_penalty: float | None = Field(None, ge=-32, le=32, description="extension: of beams")
    early_stopping: bool | Literal["never"] | None = Field(None, description="extension: of beams")
    min_tokens: int | None = Field(None, ge=0, description="extension: no end and no stop string before so many tokens")


class ChatRequest(DecodingForm):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = Field(None, description="not supported")
    metadata: dict[str, str] | None = Field(None, description="has no effect")
    store: Literal[False] | None = Field(None, description="not supported: nothing is stored")


class CompletionRequest(DecodingForm):
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=64)] = Field(
        description="one text or several; with `images`, each `<image>` in it is the next picture"
    )
    images: list[Annotated[str, Field(min_length=1)]] | None = Field(None, description="extension: `data:` URLs")
    names: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None, min_length=1, description="extension: the answer is one of these, after a space; two beams by default"
    )
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=5)
    best_of: int | None = Field(None, ge=1, description="not supported: the value of n only")
    suffix: Literal[""] | None = Field(None, description="not supported")


class ScoreRequest(Form):
    model: str | None = None
    prompt: str | list[Part]
    images: list[Annotated[str, Field(min_length=1)]] | None = Field(None, description="`data:` URLs for `<image>`")
    candidates: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    include_end: bool = Field(False, description="count the closing </s> of a candidate")
    space: bool = Field(True, description="a candidate follows the prompt after a space")


# Every form whose fields a client may name.
REQUESTS: tuple[type[Form], ...] = (
    ChatRequest,
    CompletionRequest,
    ScoreRequest,
    Message,
    TextPart,
    ImagePart,
    ImageUrl,
    StreamOptions,
)

# -- answers ---------------------------------------------------------------------------------------------------


class Usage(BaseModel):
    """prompt_tokens counts `<s>` and the slots of pictures, completion_tokens a closing `</s>`."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    content: list[TokenLogprob] | None
    refusal: None = None


class ChatMessage(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class CompletionLogprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class CandidateScore(BaseModel):
    """Natural logarithms; `probability` is the share among the candidates by their sums."""

    candidate: str
    sum: float
    mean: float
    num_tokens: int
    probability: float


class ScoreAnswer(BaseModel):
    object: Literal["score"]
    model: str
    results: list[CandidateScore]
    best: str
    usage: Usage


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[Model]


class Health(BaseModel):
    status: str


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    error: ErrorDetail
