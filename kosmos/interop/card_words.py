"""What a model card says of every model of this family."""

from __future__ import annotations

# How a folder of each form is used; of a model without vision, TEXT_FORMATS. NUM_IMAGE_TOKENS is filled in.
FORMATS = {
    "kosmos": """\
With this project's program:

    kosmos generate FOLDER -i picture.png "An image of"
    kosmos score FOLDER -i picture.png "Question: is it day? Answer:" -c yes -c no
    kosmos eval FOLDER --tasks coco_caption --data eval-data

config.yaml describes the model, model.safetensors holds the weights in fp32, tokenizer.model and processor.yaml go with
them.
""",
    "transformers": """\
With transformers alone; the folder brings its code, so it asks for your trust:

    from transformers import AutoModelForImageTextToText, AutoProcessor
    model = AutoModelForImageTextToText.from_pretrained("FOLDER", trust_remote_code=True)
    processor = AutoProcessor.from_pretrained("FOLDER", trust_remote_code=True)
""",
    "kosmos2": """\
With transformers' own class for Kosmos-2, whose processor takes one picture, before the text:

    from transformers import AutoProcessor, Kosmos2ForConditionalGeneration
    model = Kosmos2ForConditionalGeneration.from_pretrained("FOLDER")
    processor = AutoProcessor.from_pretrained("FOLDER")
    inputs = processor(text="An image of", images=picture, NUM_IMAGE_TOKENS, return_tensors="pt")
    words = model.generate(**inputs, max_new_tokens=32)
""",
}

TEXT_FORMATS = {
    "kosmos": """\
With this project's program:

    kosmos generate FOLDER "The capital of France is"
    kosmos score FOLDER "Is a cat larger than a house?" -c Yes -c No
    kosmos eval FOLDER --tasks boolq,piqa --data eval-data

config.yaml describes the model, model.safetensors holds the weights in fp32, tokenizer.model and processor.yaml go with
them.
""",
    "transformers": """\
With transformers alone; the folder brings its code, so it asks for your trust:

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("FOLDER", trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained("FOLDER", trust_remote_code=True)
""",
}

INTENDED = """\
Research on models that read text and pictures together: captions, questions about pictures, few-shot prompts, scoring
of candidates. It is not a product, and was not made safe for one.
"""

LIMITS = (
    "It writes what is likely, not what is true: it names things that a picture does not show, and states wrong facts "
    "with the same ease as right ones.",
    "It follows the prompts that it was trained with; other wordings, other languages and long dialogues work worse or "
    "not at all.",
    "Counting, reading text in pictures, spatial relations and arithmetic are weak in models of this form.",
    "It learned the views of its data, unfair ones about groups of people included, and repeats them.",
    "Its probabilities are not calibrated; a high one is no proof.",
)

MISUSE = """\
Do not use it to identify people, or to judge their health, origin, belief, character or mood from pictures; to decide
on medical, legal, financial or safety matters; to watch people; to write what passes for a person's own account, or to
describe pictures to people who cannot check and depend on the answer. Text inside a picture can steer what it writes.
"""

KOSMOS2_DATA = """\
Not in the folder. If these are the weights that Microsoft published as Kosmos-2, then by its publisher
(https://arxiv.org/abs/2306.14824): web text, image-caption pairs and interleaved web pages as for
KOSMOS-1, GrIT's phrases with boxes, and instructions. This project has not seen the data.
"""
