"""The transformers model computes what ours does: logits, losses, gradients, initial weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, CLIPVisionConfig

from kosmos.batch import collate
from kosmos.config import ModelConfig, VisionConfig, replace
from kosmos.document import Document
from kosmos.interop.remote_code.configuration_kosmos import KosmosConfig, KosmosTextConfig
from kosmos.interop.remote_code.modeling_kosmos import KosmosForConditionalGeneration
from kosmos.interop.transformers.config import from_transformers_config, to_transformers_config
from kosmos.interop.transformers.names import from_transformers_names, to_transformers_names
from kosmos.model.kosmos import Kosmos
from kosmos.tokenizer import Tokenizer
from tests.interop.twins import VARIANTS, Twins, make_twins, picture, tiny_variant
from tests.model.tiny import loss

TEXTS = [Document("an image of the red cat"), Document("two dogs, a green house")]
PICTURES = [
    Document("an image of the red cat and"),
    Document(picture(0), "an image of"),
    Document("the cat", picture(1), picture(2), "and two dogs,", picture(3), "what is it?"),
]


@pytest.fixture(scope="module", params=list(VARIANTS))
def twins(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Twins:
    return make_twins(tokenizer, request.param)


@pytest.fixture(scope="module")
def seeing(tokenizer: Tokenizer) -> Twins:
    return make_twins(tokenizer, "xpos-clip")


def prompts(twins: Twins) -> list[Document]:
    return TEXTS if twins.ours.config.vision is None else PICTURES


@torch.no_grad()
def test_logits_of_rows_with_no_one_and_three_pictures(twins: Twins) -> None:
    for document in prompts(twins):
        batch, given = twins.encode([document])
        expected = twins.ours.head(twins.ours(batch))
        torch.testing.assert_close(twins.theirs(**given).logits, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pad_left", [False, True])
def test_logits_of_a_padded_batch(twins: Twins, pad_left: bool) -> None:
    documents = prompts(twins)
    _, given = twins.encode(documents, pad_left=pad_left)
    found = twins.theirs(**given).logits
    assert torch.isfinite(found).all()
    for row, document in enumerate(documents):
        batch, _ = twins.encode([document])
        expected = twins.ours.head(twins.ours(batch))[0]
        kept = found[row][given["attention_mask"][row].bool()]
        torch.testing.assert_close(kept, expected, atol=1e-5, rtol=1e-5)


def test_loss_and_every_gradient(twins: Twins) -> None:
    documents = [Document(*document, "a green house;") for document in prompts(twins)]
    rows = [twins.processor.encode(document) for document in documents]
    batch = collate(rows, pad_id=1)
    expected = loss(twins.ours, batch)
    labels = batch.token_ids.masked_fill(~batch.supervised, -100)
    mask = torch.stack([torch.arange(batch.token_ids.shape[1]) < len(row) for row in rows]).long()
    given = {"input_ids": batch.token_ids, "attention_mask": mask, "pixel_values": twins.pixels(batch)}
    twins.theirs.model.freeze_vision("all")
    found = twins.theirs(**given, labels=labels).loss
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    parameters = dict(twins.theirs.named_parameters())
    theirs = dict(zip(parameters, torch.autograd.grad(found, list(parameters.values())), strict=True))
    trained = {name: p for name, p in twins.ours.named_parameters() if p.requires_grad}
    ours = dict(zip(trained, torch.autograd.grad(expected, list(trained.values())), strict=True))
    assert [name for name, gradient in theirs.items() if not gradient.any()] == []
    back = from_transformers_names(theirs)
    assert ours.keys() <= back.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(back[name], gradient, atol=2e-5, rtol=1e-4, msg=f"{name}: {{}}".format)


def test_names_and_configuration_there_and_back(twins: Twins) -> None:
    state = dict(twins.ours.state_dict())
    named = to_transformers_names(state)
    assert len(named) == len(state)
    back = from_transformers_names({**named, "lm_head.weight": torch.zeros(1)})
    assert back.keys() == state.keys()
    assert all(back[name] is tensor for name, tensor in state.items())
    config = twins.ours.config
    stored = KosmosConfig(**to_transformers_config(config, twins.processor.tokenizer).to_dict())
    vision = config.vision
    images = {} if vision is None else {"image_mean": vision.image_mean, "image_std": vision.image_std}
    made = from_transformers_config(stored, **images)
    if vision is not None and vision.kind == "conv":
        assert made.vision is not None and made.vision.kind == "conv"
        unseen = VisionConfig()  # a conv tower does not look at these
        names = ("patch_size", "num_layers", "num_heads", "ffn_size", "activation")
        config = replace(config, vision=replace(vision, **{name: getattr(unseen, name) for name in names}))
    assert made == config


@torch.no_grad()
def test_eager_attention_and_recorded_outputs(seeing: Twins) -> None:
    _, given = seeing.encode(PICTURES, pad_left=True)
    fused = seeing.theirs(**given)
    seeing.theirs.set_attn_implementation("eager")
    try:
        eager = seeing.theirs(**given, output_attentions=True, output_hidden_states=True)
    finally:
        seeing.theirs.set_attn_implementation("sdpa")
    seen = given["attention_mask"].bool()
    torch.testing.assert_close(eager.logits[seen], fused.logits[seen], atol=1e-5, rtol=1e-5)
    assert len(eager.hidden_states) == 3 and len(eager.attentions) == 2
    weights = eager.attentions[0]
    assert weights.shape == (3, 4, *[given["input_ids"].shape[1]] * 2)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


@torch.no_grad()
@pytest.mark.parametrize("name", ["xpos-clip", "sinusoidal-conv"])
def test_positions_that_begin_again_are_documents_of_one_row(tokenizer: Tokenizer, name: str) -> None:
    twins = make_twins(tokenizer, name)
    rows = [twins.encode([document])[1]["input_ids"][0] for document in TEXTS]
    packed = torch.cat(rows)[None]
    positions = torch.cat([torch.arange(len(row)) for row in rows])[None]
    found = twins.theirs(input_ids=packed, position_ids=positions, use_cache=False).logits[0]
    expected = [twins.theirs(input_ids=row[None]).logits[0] for row in rows]
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_logits_to_keep_and_given_features(seeing: Twins) -> None:
    _, given = seeing.encode(PICTURES[2:])
    whole = seeing.theirs(**given)
    torch.testing.assert_close(seeing.theirs(**given, logits_to_keep=2).logits, whole.logits[:, -2:])
    chosen = torch.tensor([0, 5])
    torch.testing.assert_close(seeing.theirs(**given, logits_to_keep=chosen).logits, whole.logits[:, chosen])
    features = seeing.theirs.get_image_features(given.pop("pixel_values"))
    assert features.pooler_output.shape == (3, 3, 32)
    torch.testing.assert_close(whole.image_hidden_states, features.pooler_output)
    torch.testing.assert_close(seeing.theirs(**given, mm_encoder_outputs={"image": features}).logits, whole.logits)


def test_the_trainers_number_of_targets_divides_the_loss(seeing: Twins) -> None:
    _, given = seeing.encode(PICTURES[:1])
    mean = seeing.theirs(**given, labels=given["input_ids"]).loss
    targets = given["input_ids"].shape[1] - 1
    part = seeing.theirs(**given, labels=given["input_ids"], num_items_in_batch=3 * targets).loss
    assert part.item() == pytest.approx(mean.item() / 3)


@torch.no_grad()
def test_bfloat16_is_near(seeing: Twins) -> None:
    _, given = seeing.encode(PICTURES, pad_left=True)
    exact = seeing.theirs(**given).logits[:, -1]
    rounded = copy.deepcopy(seeing.theirs).to(torch.bfloat16)(**given).logits[:, -1]
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - exact).abs().max()) < 0.05 * float(exact.abs().max())


@torch.no_grad()
def test_embeddings_stand_for_ids_pictures_included(seeing: Twins) -> None:
    """As PEFT's prompt tuning hands them on."""
    _, given = seeing.encode(PICTURES)
    wanted = seeing.theirs(**given).logits
    embeds = seeing.theirs.get_input_embeddings()(given.pop("input_ids"))
    assert torch.equal(seeing.theirs(inputs_embeds=embeds, **given).logits, wanted)


@torch.no_grad()
def test_every_attention_that_torch_has(seeing: Twins) -> None:
    _, given = seeing.encode(PICTURES)
    wanted = seeing.theirs(**given).logits
    for attention in ("eager", "sdpa"):
        other = KosmosForConditionalGeneration._from_config(seeing.theirs.config, attn_implementation=attention).eval()
        other.load_state_dict(seeing.theirs.state_dict())
        assert other.model.language_model.config._attn_implementation == attention
        torch.testing.assert_close(other(**given).logits, wanted, atol=1e-5, rtol=1e-5)
    assert seeing.theirs.model.vision_tower._supports_flex_attn


@torch.no_grad()
def test_quantised_layers_do_not_round_the_pixels(seeing: Twins) -> None:
    """A quantised layer's weight is of whole numbers; pixels in that type would be 0 and 1."""
    _, given = seeing.encode(PICTURES)
    wanted = seeing.theirs(**given).logits
    dense = seeing.theirs.model.multi_modal_projector.dense
    weight = dense.weight
    whole = torch.nn.Parameter(torch.zeros(1, dtype=torch.uint8), requires_grad=False)
    dense.weight, forward = whole, dense.forward
    dense.forward = lambda features: torch.nn.functional.linear(features, weight, dense.bias)
    try:
        assert torch.equal(seeing.theirs(**given).logits, wanted)
    finally:
        dense.weight, dense.forward = weight, forward


@torch.no_grad()
def test_pictures_and_text_are_one_graph(seeing: Twins) -> None:
    _, given = seeing.encode(PICTURES)
    torch._dynamo.reset()
    compiled = torch.compile(seeing.theirs, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(**given).logits, seeing.theirs(**given).logits, atol=1e-5, rtol=1e-5)


def test_what_does_not_fit_is_refused(seeing: Twins, tokenizer: Tokenizer) -> None:
    _, given = seeing.encode(PICTURES)
    with pytest.raises(ValueError, match="12 image tokens, but 3 pictures take 9"):
        seeing.theirs(**{**given, "pixel_values": given["pixel_values"][1:]})
    embeds = seeing.theirs.get_input_embeddings()(given["input_ids"])
    for both in ({"input_ids": given["input_ids"], "inputs_embeds": embeds}, {}):
        with pytest.raises(ValueError, match="exactly one"):
            seeing.theirs(**both)
    for pixels in (given["pixel_values"][None], torch.zeros(4, 3, 20, 16), torch.zeros(4, 1, 16, 16)):
        with pytest.raises(ValueError, match=r"but this model reads \[N, 3, 16, 16\]"):
            seeing.theirs(**{**given, "pixel_values": pixels})
    blind = make_twins(tokenizer, "text-only")
    with pytest.raises(ValueError, match="reads text only"):
        blind.theirs(**given)
    with pytest.raises(ValueError, match="choose xpos or sinusoidal"):
        KosmosTextConfig(position_embedding_type="learned")
    with pytest.raises(ValueError, match="choose clip_vision_model"):
        KosmosConfig(vision_config={"model_type": "siglip_vision_model"})


@pytest.mark.parametrize("name", ["xpos-clip", "xpos-conv"])
def test_freezing_leaves_what_our_configuration_leaves(tokenizer: Tokenizer, name: str) -> None:
    twins = make_twins(tokenizer, name)
    expected = {name for name, parameter in twins.ours.named_parameters() if parameter.requires_grad}
    twins.theirs.model.freeze_vision()
    open_ = {name: p for name, p in twins.theirs.named_parameters() if p.requires_grad}
    assert from_transformers_names(open_).keys() == expected
    twins.theirs.model.freeze_vision("none")
    assert not any(parameter.requires_grad for parameter in twins.theirs.model.vision_tower.parameters())
    with pytest.raises(ValueError, match="choose all, last_layer or none"):
        twins.theirs.model.freeze_vision("half")


def test_gradient_checkpointing_changes_no_gradient(tokenizer: Tokenizer) -> None:
    twins = make_twins(tokenizer, "sinusoidal-clip-gelu")
    model = twins.theirs.train()
    _, given = twins.encode(PICTURES)
    found = []
    for kept in (True, False):
        if not kept:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(**given, labels=given["input_ids"]).loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert model.model.language_model.gradient_checkpointing
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-6, rtol=1e-5)


def test_dropout_acts_in_training_alone(tokenizer: Tokenizer) -> None:
    config = to_transformers_config(tiny_variant(tokenizer, "xpos-clip"), tokenizer)
    model = KosmosForConditionalGeneration(config)
    ids = torch.arange(4, 24)[None]
    assert not torch.equal(model.train()(ids).logits, model(ids).logits)
    assert torch.equal(model.eval()(ids).logits, model(ids).logits)


@pytest.mark.parametrize("name", ["xpos-clip", "clip-perceiver-paper", "no-sub-ln-deep-stem"])
def test_new_weights_are_drawn_as_ours(tokenizer: Tokenizer, name: str) -> None:
    config = replace(tiny_variant(tokenizer, name), **{"decoder.hidden_size": 128, "decoder.ffn_size": 256})
    torch.manual_seed(0)
    ours = to_transformers_names(dict(Kosmos(config, random_vision=True).state_dict()))
    theirs = KosmosForConditionalGeneration(to_transformers_config(config, tokenizer)).state_dict()
    compared = 0
    for key, tensor in ours.items():
        if tensor.numel() < 100 or not tensor.is_floating_point():
            continue
        spread = float(tensor.std())
        assert float(theirs[key].std()) == pytest.approx(spread, rel=0.25, abs=1e-7), key
        compared += 1
    assert compared > 20
    assert not theirs["model.language_model.embed_tokens.weight"][1].any()


def test_full_shape_has_the_published_number_of_parameters() -> None:
    clip = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14
    )
    with torch.device("meta"):
        model = KosmosForConditionalGeneration(KosmosConfig(vision_config=clip))
        ours = Kosmos(ModelConfig(), random_vision=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_662_375_936
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    named = to_transformers_names(dict(ours.state_dict()))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    assert shapes == {name: tensor.shape for name, tensor in named.items()}


class _ServersCache:
    """Keys and values as a server keeps them: tokens in a row, one store a layer."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any) -> Any:
        assert mask is None and module.is_causal
        before = self.kept.get(module.layer_idx)
        if before is not None:
            key, value = torch.cat((before[0], key), 2), torch.cat((before[1], value), 2)
        self.kept[module.layer_idx] = key, value
        seen = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(key.shape[2] - query.shape[2])
        scores = (query @ key.transpose(2, 3) * kwargs["scaling"]).masked_fill(~seen, -torch.inf)
        return (scores.softmax(-1) @ value).transpose(1, 2), None


@torch.no_grad()
@pytest.mark.parametrize("name", ["xpos-clip", "sinusoidal-conv"])
def test_a_server_may_bring_its_own_attention_and_cache(tokenizer: Tokenizer, name: str) -> None:
    """What vLLM's transformers backend does to a model, in steps of this process; vLLM itself is not run."""
    twins = make_twins(tokenizer, name)
    batch, given = twins.encode(PICTURES[2:])
    expected = twins.ours.head(twins.ours(batch))[0]
    model = twins.theirs.model
    caches: dict[str, _ServersCache] = {"it": _ServersCache()}

    def attention(module: Any, *tensors: Any, **kwargs: Any) -> Any:
        return kwargs.pop("attention_instances")["it"].attend(module, *tensors, **kwargs)

    AttentionInterface.register("tests_server", attention)
    model.config.text_config._attn_implementation = "tests_server"
    scale = float(model.get_input_embeddings().embed_scale)
    replaced = torch.nn.Embedding(*model.get_input_embeddings().weight.shape)
    replaced.weight = model.get_input_embeddings().weight
    model.set_input_embeddings(replaced)
    ids = given["input_ids"]
    embeds = model.get_input_embeddings()(ids) * scale
    features = model.get_image_features(given["pixel_values"]).pooler_output
    embeds[ids == model.config.image_token_id] = features.flatten(0, 1)
    length, found = ids.shape[1], []
    for first, last in ((0, 7), (7, length - 1), (length - 1, length)):
        out = model(
            inputs_embeds=embeds[:, first:last],
            position_ids=torch.arange(first, last)[None],
            use_cache=False,
            return_dict=False,
            attention_instances=caches,
        )
        found.append(out[0][0])
    torch.testing.assert_close(twins.theirs.lm_head(torch.cat(found)), expected, atol=1e-5, rtol=1e-5)


def test_what_servers_look_for(seeing: Twins) -> None:
    model = seeing.theirs.model
    text = model.config.get_text_config()
    assert model.is_backend_compatible()
    assert model.get_decoder() is model.language_model
    assert model.get_encoder(modality="image") is model.vision_tower
    assert (text.head_dim, text.num_key_value_heads) == (8, 4)
    assert [name for name in model._pp_plan if not name.startswith("language_model.")] == []
    for name in model._pp_plan:
        assert model.get_submodule(name) is not None
    linear = {key.removeprefix("layers.0.") for key, part in model.language_model.named_modules()
              if isinstance(part, torch.nn.Linear) and key.startswith("layers.0.")}  # fmt: skip
    assert {key.removeprefix("layers.*.") for key in text.base_model_tp_plan} == linear
