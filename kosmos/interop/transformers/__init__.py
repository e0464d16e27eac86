"""Our classes under transformers' Auto classes, from the installed package.

    from kosmos.interop.transformers import register

    register()
    model = AutoModelForImageTextToText.from_pretrained("exported")  # no trust_remote_code

An exported folder (`kosmos export RUN OUT --format transformers`) brings the same code with it, for machines without
this package; there `trust_remote_code=True` does what `register` does here.
"""

from __future__ import annotations

from kosmos.errors import ConfigError

try:
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoModelForMultimodalLM,
        AutoProcessor,
        AutoTokenizer,
    )
except ImportError as error:
    raise ConfigError(f"transformers cannot be used ({error}); pip install 'transformers>=5.21,<6'") from error

from kosmos.interop.remote_code.configuration_kosmos import KosmosConfig
from kosmos.interop.remote_code.image_processing_kosmos import KosmosImageProcessor
from kosmos.interop.remote_code.modeling_kosmos import KosmosForConditionalGeneration, KosmosModel
from kosmos.interop.remote_code.processing_kosmos import KosmosProcessor
from kosmos.interop.remote_code.tokenization_kosmos import KosmosTokenizer

__all__ = [
    "KosmosConfig",
    "KosmosForConditionalGeneration",
    "KosmosImageProcessor",
    "KosmosModel",
    "KosmosProcessor",
    "KosmosTokenizer",
    "register",
]


def register() -> None:
    """Make the Auto classes and pipelines of transformers know exported folders. Calling it again changes nothing."""
    AutoConfig.register(KosmosConfig.model_type, KosmosConfig, exist_ok=True)
    AutoModel.register(KosmosConfig, KosmosModel, exist_ok=True)
    AutoModelForImageTextToText.register(KosmosConfig, KosmosForConditionalGeneration, exist_ok=True)
    AutoModelForMultimodalLM.register(KosmosConfig, KosmosForConditionalGeneration, exist_ok=True)
    # The same class without pictures: text tools such as lm-eval ask for a causal model.
    AutoModelForCausalLM.register(KosmosConfig, KosmosForConditionalGeneration, exist_ok=True)
    AutoTokenizer.register(KosmosConfig, tokenizer_class=KosmosTokenizer, exist_ok=True)
    AutoImageProcessor.register(KosmosConfig, image_processor_classes={"pil": KosmosImageProcessor}, exist_ok=True)
    AutoProcessor.register(KosmosConfig, KosmosProcessor, exist_ok=True)
