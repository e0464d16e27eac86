"""The exported processor gives our processor's rows and pixels, for prompts, chats and batches."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

from kosmos.chat_format import Turn, chat_document
from kosmos.config import ModelConfig
from kosmos.document import Document, Image, Text
from kosmos.errors import UsageError
from kosmos.interop.remote_code.tokenization_kosmos import MARK, RENDERED
from kosmos.interop.transformers.processor import save_processor, to_transformers
from kosmos.model.encoders import ImageEncoder
from kosmos.processor import Processor
from tests.inference.tiny import tiny_config, tiny_tokenizer


def picture(seed: int, width: int = 40, height: int = 30) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Processor:
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return Processor(tokenizer, tiny_config(tokenizer.vocab_size))


@pytest.fixture(scope="module")
def exported(ours: Processor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    save_processor(ours, out)
    return out


@pytest.fixture(scope="module")
def theirs(exported: Path) -> Any:
    return AutoProcessor.from_pretrained(exported, trust_remote_code=True)


def pixels(ours: Processor, *pictures: PIL.Image.Image) -> torch.Tensor:
    """What our model makes of our processor's pixels."""
    document = Document(*(Image(one) for one in pictures))
    made = np.stack([taken.features for taken in ours.encode(document).inputs])
    return ImageEncoder(ours.config).normalize(torch.from_numpy(made))


def test_a_prompt_has_our_ids_and_our_pixels_to_the_bit(ours: Processor, theirs: Any) -> None:
    first, second = picture(0), picture(1, 31, 77)
    made = theirs(images=[first, second], text="<image>an image\nof<image> and it", return_tensors="pt")
    document = Document(Image(first), "an image\nof", Image(second), " and it")
    row = ours.encode(document, end=False)
    assert made["input_ids"].tolist() == [row.token_ids.tolist()]
    assert made["attention_mask"].tolist() == [[1] * len(row)]
    assert torch.equal(made["pixel_values"], pixels(ours, first, second))
    assert set(made) == {"input_ids", "attention_mask", "pixel_values"}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "CMYK", "I;16", "1"])
def test_pixels_of_every_mode_are_ours(mode: str, ours: Processor, theirs: Any) -> None:
    rng = np.random.default_rng(3)
    if mode == "I;16":
        made = PIL.Image.fromarray(rng.integers(0, 65536, (20, 33), dtype=np.uint16))
    else:
        made = PIL.Image.fromarray(rng.integers(0, 256, (20, 33, 4), dtype=np.uint8), "RGBA").convert(mode)
    values = theirs.image_processor(made, return_tensors="pt")["pixel_values"]
    assert torch.equal(values, pixels(ours, made))


def test_pixels_of_files_urls_and_arrays_are_ours(ours: Processor, theirs: Any, tmp_path: Path) -> None:
    one = picture(4).convert("RGBA")
    one.putalpha(PIL.Image.linear_gradient("L").resize(one.size))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # held sideways
    one.save(tmp_path / "one.png", exif=exif)
    data = (tmp_path / "one.png").read_bytes()
    expected = ours.encode(Document(Image(data))).inputs[0].features
    coded = base64.b64encode(data).decode()
    for source in (str(tmp_path / "one.png"), f"data:image/png;base64,{coded}", coded):
        values = theirs.image_processor(source, do_normalize=False, return_tensors="np")["pixel_values"]
        assert values.dtype == np.uint8 and (values[0] == expected).all()
    array = np.asarray(picture(5))
    expected = ours.encode(Document(Image(array))).inputs[0].features
    sources: list[Any] = [array, array.transpose(2, 0, 1), torch.from_numpy(array.copy()), array[None]]
    for picked in sources:
        values = theirs.image_processor(picked, do_normalize=False, return_tensors="np")["pixel_values"]
        assert (values[0] == expected).all()


def test_pictures_that_are_none_are_refused(theirs: Any, tmp_path: Path) -> None:
    wide = PIL.Image.new("1", (8000, 2001))
    wide.save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("no picture")
    for source, message in [
        (str(tmp_path / "wide.png"), "8000 x 2001 pixels are over the limit of 16 megapixels"),
        (wide, "over the limit of 16 megapixels"),
        (str(tmp_path / "text.png"), "not a PNG, JPEG, WEBP or GIF"),
        (str(tmp_path / "absent.png"), "is no file, URL or base64"),
        (np.zeros((4, 4, 3), np.float32), "uint8"),
        (np.zeros((4, 4, 5), np.uint8), r"\[H, W, 3\]"),
        (PIL.Image.new("F", (3, 3)), "floating-point"),
        ([], "no pictures given"),
    ]:
        with pytest.raises(ValueError, match=message):
            theirs.image_processor(source)


def test_a_batch_of_uneven_pictures_is_its_rows(ours: Processor, theirs: Any) -> None:
    texts = ["<image>an image of", "two dogs", "<image> and <image>Question: what is it? Answer:"]
    nested = [[picture(0)], [], [picture(1), picture(2)]]
    made = theirs(images=nested, text=texts, padding=True, return_tensors="pt", return_mm_token_type_ids=True)
    flat = theirs(images=[picture(0), picture(1), picture(2)], text=texts, padding=True, return_tensors="pt")
    assert torch.equal(made["input_ids"], flat["input_ids"])
    assert torch.equal(made["pixel_values"], flat["pixel_values"])
    assert torch.equal(made["pixel_values"], pixels(ours, picture(0), picture(1), picture(2)))
    for index, (text, pictures) in enumerate(zip(texts, nested)):
        alone = theirs(images=pictures or None, text=text)["input_ids"][0]
        kept = made["attention_mask"][index].bool()
        assert made["input_ids"][index][kept].tolist() == alone
        assert not kept[: len(kept) - len(alone)].any()
        slots = made["mm_token_type_ids"][index]
        assert slots.tolist() == (made["input_ids"][index] == ours.tokenizer.slot_id).int().tolist()
        assert slots.sum() == 3 * len(pictures)


def test_the_pictures_must_be_as_many_as_their_places(theirs: Any) -> None:
    for pictures, text, message in [
        (None, "an <image>", "0 pictures given, but `<image>` stands 1 times"),
        ([picture(0)], "an image", "1 pictures given, but `<image>` stands 0 times"),
        ([picture(0)], "<image>user text that spells <image>", "stands 2 times in the text; user text that spells it"),
        ([[picture(0)], [picture(1)]], ["<image><image>", "it"], "text 0: 1 pictures given, but"),
        ([[picture(0)]], ["<image>", "it"], "1 lists of pictures for 2 texts"),
    ]:
        with pytest.raises(ValueError, match=message):
            theirs(images=pictures, text=text)
    with pytest.raises(ValueError, match="give text, images or both"):
        theirs()
    with pytest.raises(ValueError, match="a str or a list of str"):
        theirs(text=[["an", "image"]])


def test_truncation_never_cuts_a_picture(theirs: Any) -> None:
    with pytest.raises(ValueError, match="truncation to 4 tokens cuts a picture's slots"):
        theirs(images=[picture(0)], text="<image>an image", truncation=True, max_length=4)
    made = theirs(images=[picture(0)], text="<image>an image of it", truncation=True, max_length=7)
    assert len(made["input_ids"][0]) == 7


def test_text_alone_and_pictures_alone(ours: Processor, theirs: Any) -> None:
    made = theirs(text="an image of")
    assert dict(made) == {"input_ids": [[0, *ours.tokenizer.encode("an image of")]], "attention_mask": [[1] * 4]}
    assert theirs(text="an", add_special_tokens=False)["input_ids"] == [ours.tokenizer.encode("an")]
    assert list(theirs(images=picture(0), return_tensors="pt")) == ["pixel_values"]


def turns_and_messages() -> list[tuple[list[Any], list[dict[str, Any]]]]:
    one, two = picture(0), picture(1, 9, 50)

    def image(made: PIL.Image.Image) -> dict[str, Any]:
        return {"type": "image", "image": made}

    def text(said: str) -> dict[str, Any]:
        return {"type": "text", "text": said}

    hostile = f"it is </s> <image><s> {MARK}limage> {MARK}|\n<mask> two"
    return [
        ([("user", "what is it?")], [{"role": "user", "content": "what is it?"}]),
        (
            [("user", Document(Image(one), "what is it?"))],
            [{"role": "user", "content": [image(one), text("what is it?")]}],
        ),
        (
            [("user", Document(Image(one), "what is", Image(two), " and it?")), ("assistant", "a cat"), ("user", "No")],
            [
                {"role": "user", "content": [image(one), text("what is"), image(two), text(" and it?")]},
                {"role": "assistant", "content": [text("a cat")]},
                {"role": "user", "content": "No"},
            ],
        ),
        (
            [("user", Image(one)), ("assistant", "\u0301 odd\n"), ("user", Document(Image(two), Image(one)))],
            [
                {"role": "user", "content": [image(one)]},
                {"role": "assistant", "content": "\u0301 odd\n"},
                {"role": "user", "content": [image(two), image(one)]},
            ],
        ),
        (
            [("user", Document("", Image(one), hostile)), ("assistant", hostile), ("user", hostile)],
            [
                {"role": "user", "content": [text(""), image(one), text(hostile)]},
                {"role": "assistant", "content": hostile},
                {"role": "user", "content": hostile},
            ],
        ),
    ]


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("sanitize", [False, True])
def test_a_chat_has_the_ids_of_our_chat_format(index: int, sanitize: bool, ours: Processor, theirs: Any) -> None:
    turns, messages = turns_and_messages()[index]
    document = chat_document(turns)
    made = theirs.apply_chat_template(
        messages,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        **({"sanitize_control_tokens": True} if sanitize else {}),
    )
    assert made["input_ids"][0].tolist() == ours.encode(document, end=False).token_ids.tolist()
    if document.images:
        assert torch.equal(made["pixel_values"], pixels(ours, *(one.source for one in document.images)))
    # In two steps, as lm-eval and vLLM do it.
    rendered = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    again = theirs(images=[one.source for one in document.images] or None, text=rendered)
    assert again["input_ids"][0] == made["input_ids"][0].tolist()
    if not document.images:
        tokenizer = theirs.tokenizer
        assert tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"] == again["input_ids"][0]
        assert tokenizer(rendered)["input_ids"] == again["input_ids"][0]


def test_a_chat_that_ends_with_the_answer(ours: Processor, theirs: Any) -> None:
    """For fine-tuning with its `</s>`, to be continued without."""
    messages = [{"role": "user", "content": "what is it?"}, {"role": "assistant", "content": "a red cat"}]
    document = chat_document([("user", "what is it?"), Turn("assistant", Document("a red cat"))])
    made = theirs.apply_chat_template(messages, tokenize=True, return_dict=True)
    assert made["input_ids"][0] == ours.encode(document).token_ids.tolist()
    made = theirs.apply_chat_template(messages, tokenize=True, return_dict=True, continue_final_message=True)
    assert made["input_ids"][0] == ours.encode(document, end=False).token_ids.tolist()


def test_a_batch_of_chats(theirs: Any) -> None:
    chats = [messages for _, messages in turns_and_messages()]
    made = theirs.apply_chat_template(
        chats, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={"padding": True}
    )
    for index, chat in enumerate(chats):
        alone = theirs.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"][0]
        assert made["input_ids"][index][made["attention_mask"][index].bool()].tolist() == alone
    assert len(made["pixel_values"]) == 0 + 1 + 2 + 3 + 1


def test_pictures_of_a_chat_may_be_urls(ours: Processor, theirs: Any) -> None:
    data = io.BytesIO()
    picture(0).save(data, "PNG")
    url = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    for part in ({"type": "image", "url": url}, {"type": "image_url", "image_url": {"url": url}}):
        messages = [{"role": "user", "content": [part, {"type": "text", "text": "what is it?"}]}]
        made = theirs.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
        assert torch.equal(made["pixel_values"], pixels(ours, picture(0)))


def test_chats_that_our_format_refuses_are_refused(theirs: Any) -> None:
    user, assistant = {"role": "user", "content": "it"}, {"role": "assistant", "content": "it"}
    for messages, message in [
        ([assistant], "turn 1 is the assistant's: turns alternate, starting with the user"),
        ([user, user], "turn 2 is the user's"),
        ([{"role": "system", "content": "be kind"}, user], "turn 1 is the system's"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "of type 'text' or 'image', not 'audio'"),
    ]:
        with pytest.raises(Exception, match=message):
            theirs.apply_chat_template(messages, tokenize=False)


def test_user_text_in_a_prompt_built_by_hand(ours: Processor, theirs: Any) -> None:
    said = f"<image></s> {MARK}| it"
    made = theirs(images=[picture(0)], text=theirs.rendered(f"<image>{theirs.escape(said)} Answer:"))
    expected = ours.encode(Document(Image(picture(0)), Text(said + " Answer:")), end=False).token_ids.tolist()
    assert made["input_ids"][0] == expected


def test_the_known_limit_who_writes_the_whole_text_writes_tokens(ours: Processor, theirs: Any) -> None:
    """The start of a rendered chat is in-band: only a text that begins with it is read as one."""
    assert theirs(text=f"{RENDERED}it</s>")["input_ids"][0] == [0, *ours.tokenizer.encode("it"), 2]
    assert ours.tokenizer.eos_id not in theirs(text=f" {RENDERED}it</s>")["input_ids"][0]
    # The placeholder's name alone is the beginning of a picture, without any place for one.
    assert theirs.tokenizer("<image>", add_special_tokens=False)["input_ids"] == [theirs.tokenizer.vocab_size - 4]
    assert theirs.tokenizer("<image>")["input_ids"] == [0, *ours.tokenizer.encode("<image>")]
    with pytest.raises(ValueError, match="0 pictures given"):
        theirs(text=f"{RENDERED}<image>")


def test_vllm_finds_the_places_of_pictures(ours: Processor, theirs: Any) -> None:
    """The steps of its transformers backend: the prompt tokenized alone, each placeholder replaced afterwards."""
    tokenizer = theirs.tokenizer
    one, two = picture(0), picture(1, 9, 50)
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what </s> <image> is it?"}]},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "image"}]},
    ]
    prompt = tokenizer.encode(tokenizer.apply_chat_template(messages, tokenize=False), add_special_tokens=False)
    target = tokenizer.encode(theirs.image_token, add_special_tokens=False)
    assert target == [ours.tokenizer.special_id("<image>")]
    made = theirs(
        text=theirs.image_token * 2, images=[one, two], add_special_tokens=False, return_text_replacement_offsets=True
    )
    (places,) = made["text_replacement_offsets"]
    assert [place["span"] for place in places] == [(0, 7), (7, 14)]
    written = [tokenizer.encode(place["replacement"], add_special_tokens=False) for place in places]
    assert made["input_ids"][0] == written[0] + written[1]
    assert len(made["pixel_values"]) == 2
    joined = "".join(place["replacement"] for place in places)
    assert [joined[slice(*place["new_span"])] for place in places] == [place["replacement"] for place in places]
    replaced: list[int] = []
    for token in prompt:
        replaced += written.pop(0) if [token] == target else [token]
    turns = [
        ("user", Document(Image(one), "what </s> <image> is it?")),
        ("assistant", "a cat"),
        ("user", Document("and", Image(two))),
    ]
    assert replaced == ours.encode(chat_document(turns), end=False).token_ids.tolist()  # type: ignore[arg-type]


def test_vllm_is_told_the_number_of_slots(theirs: Any) -> None:
    told = theirs._get_num_multimodal_tokens(image_sizes=[(40, 30), (9, 50)])
    assert (told["num_image_tokens"], told["num_image_patches"]) == ([3, 3], [1, 1])
    assert theirs._get_num_multimodal_tokens().num_image_tokens is None
    made = theirs(images=[picture(0)], text=theirs.image_token, return_mm_token_type_ids=True)
    slots = [token for token, kind in zip(made["input_ids"][0], made["mm_token_type_ids"][0]) if kind]
    assert slots == [theirs.image_token_id] * 3


def test_save_and_load_change_nothing(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path, trust_remote_code=True)
    arguments: dict[str, Any] = {"images": [picture(0)], "text": "<image>an image", "return_tensors": "pt"}
    for name, value in theirs(**arguments).items():
        assert torch.equal(again(**arguments)[name], value)
    assert again.chat_template == theirs.chat_template
    assert again.num_image_tokens == 3


def test_the_folder_names_its_classes(exported: Path, theirs: Any) -> None:
    image_processor = AutoImageProcessor.from_pretrained(exported, trust_remote_code=True)
    assert type(image_processor).__name__ == "KosmosImageProcessor"
    assert image_processor.size == {"height": 16, "width": 16}
    assert type(AutoTokenizer.from_pretrained(exported, trust_remote_code=True)).__name__ == "KosmosTokenizer"
    assert type(theirs).__name__ == "KosmosProcessor"
    assert theirs.model_input_names == ["input_ids", "attention_mask", "pixel_values"]
    code = [path.read_text() for path in exported.glob("*.py")]
    assert len(code) == 3 and not any("from kosmos" in text or "import kosmos" in text for text in code)
    maps = json.loads((exported / "processor_config.json").read_text())["auto_map"]
    assert maps["AutoProcessor"] == "processing_kosmos.KosmosProcessor"


def test_a_model_without_vision_has_a_tokenizer_alone(ours: Processor, tmp_path: Path) -> None:
    from dataclasses import replace

    config: ModelConfig = replace(ours.config, vision=None)
    save_processor(Processor(ours.tokenizer, config), tmp_path)
    made = AutoProcessor.from_pretrained(tmp_path, trust_remote_code=True)
    assert type(made).__name__ == "KosmosTokenizer"
    assert made("an image of")["input_ids"] == [0, *ours.tokenizer.encode("an image of")]
    assert not (tmp_path / "processor_config.json").exists()


def test_what_transformers_cannot_read_is_refused(ours: Processor, tmp_path: Path) -> None:
    from dataclasses import replace

    sound = Processor(ours.tokenizer, replace(ours.config, extra_modalities=("sound",)))
    with pytest.raises(UsageError, match="extra_modalities: sound: an exported processor reads text and pictures"):
        save_processor(sound, tmp_path)
    odd = Processor(ours.tokenizer, ours.config)
    odd.chat_format = "other"
    with pytest.raises(UsageError, match="'other' has no template for transformers"):
        to_transformers(odd)
