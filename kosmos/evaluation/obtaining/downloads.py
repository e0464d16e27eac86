"""Which files of which dataset can be fetched, from where, and how they come to lie.

Only what its owners serve without a form. Checksums are of files that were read, or that several projects agree on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kosmos.evaluation.benchmark import Benchmark

Use = Literal["examples", "demonstrations", "server"]

_MB = 1_000_000
_GB = 1000 * _MB
# More than this is fetched only when the user says so.
LARGE = _GB


@dataclass(frozen=True)
class Download:
    """One file on the web.

    gives     globs below the dataset's folder that are there once it is in place; of an archive, what is unpacked
    bytes     its size, or somewhat more; twice as much is refused
    strip     of an archive: the folder in it that is left out of the names
    checksum  "sha256:..." or "md5:..." of the file itself; empty where none is known
    use       what it is for: the examples, demonstrations, or a submission to the server
    beside    a folder of another dataset with the same files, which is linked instead: coco_caption/val2014
    """

    url: str
    gives: tuple[str, ...]
    bytes: int
    strip: str = ""
    checksum: str = ""
    use: Use = "examples"
    beside: str = ""

    @property
    def name(self) -> str:
        """The file's name on disk."""
        return self.url.partition("?")[0].rpartition("/")[2]

    @property
    def is_archive(self) -> bool:
        return self.name.endswith((".zip", ".tgz", ".tar.gz", ".tar"))


def _super_glue(task: str) -> tuple[Download, ...]:
    url = f"https://dl.fbaipublicfiles.com/glue/superglue/data/v2/{task}.zip"
    return (Download(url, ("train.jsonl", "val.jsonl"), 10 * _MB, strip=f"{task}/"),)


_HELLASWAG = "https://raw.githubusercontent.com/rowanz/hellaswag/master/data"
_PIQA = "https://yonatanbisk.com/piqa/data"
_VALM = "https://raw.githubusercontent.com/Victorwz/VaLM/161accd153943a502ec7e3983c448dda07f9d975/data"
_COLORS = (
    "https://raw.githubusercontent.com/lovhag/measure-visual-commonsense-knowledge/"
    "c5a28c37c6b6a9774f73c55af4720e99b3a21b30/memory_colors/data"
)
_KARPATHY = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
_COCO = "http://images.cocodataset.org/zips"
_VQA = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa"
_VIZWIZ = "https://vizwiz.cs.colorado.edu/VizWiz_final"

_COCO_VAL = Download(
    f"{_COCO}/val2014.zip", ("val2014/*.jpg",), 7 * _GB, checksum="md5:a3d79f5ed8d289b7a7554ce06a5782b3"
)
_COCO_TRAIN = Download(
    f"{_COCO}/train2014.zip",
    ("train2014/*.jpg",),
    14 * _GB,
    checksum="md5:0da8c0bd3d6becc4dcb32757491aca88",
    use="demonstrations",
)

# Name of a dataset's folder -> its downloads, in order.
DOWNLOADS: dict[str, tuple[Download, ...]] = {
    "hellaswag": (
        Download(f"{_HELLASWAG}/hellaswag_val.jsonl", ("hellaswag_val.jsonl",), 20 * _MB),
        Download(f"{_HELLASWAG}/hellaswag_train.jsonl", ("hellaswag_train.jsonl",), 80 * _MB, use="demonstrations"),
    ),
    "winograd": (
        Download("https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml", ("WSCollection.xml",), 1 * _MB),
    ),
    "winogrande": (
        Download(
            "https://storage.googleapis.com/ai2-mosaic/public/winogrande/winogrande_1.1.zip",
            ("train_xs.jsonl", "dev.jsonl"),
            20 * _MB,
            strip="winogrande_1.1/",
        ),
    ),
    "piqa": (
        Download(
            f"{_PIQA}/valid.jsonl",
            ("valid.jsonl",),
            2 * _MB,
            checksum="sha256:93503cc97c679e459b065c3d13e848282e44b2a25213985bed3e5d458abef72d",
        ),
        Download(
            f"{_PIQA}/valid-labels.lst",
            ("valid-labels.lst",),
            1 * _MB,
            checksum="sha256:b4192dc3a2a0363d9d60ccf79800cbbe2f32ebb17726efdde6970e0b8131bceb",
        ),
        Download(f"{_PIQA}/train.jsonl", ("train.jsonl",), 20 * _MB, use="demonstrations"),
        Download(
            f"{_PIQA}/train-labels.lst",
            ("train-labels.lst",),
            1 * _MB,
            checksum="sha256:df8ae080c41f02f88e81f6932d425f4b7ee72f433ad552e6a30d45e358e8f8bb",
            use="demonstrations",
        ),
    ),
    "boolq": _super_glue("BoolQ"),
    "cb": _super_glue("CB"),
    "copa": _super_glue("COPA"),
    "rendered_sst2": (
        Download(
            "https://openaipublic.azureedge.net/clip/data/rendered-sst2.tgz",
            ("test/*/*.png", "train/*/*.png", "valid/*/*.png"),
            200 * _MB,
            strip="rendered-sst2/",
            checksum="md5:2384d08e9dcfa4bd55b324e610496ee5",
        ),
    ),
    "relative_size": (
        Download(
            f"{_VALM}/object_size/sizePairsFull.txt",
            ("sizePairsFull.txt",),
            1 * _MB,
            checksum="sha256:c9ada6c446d637e7ac03f9970b4c5af603e90572479ca55d34e0ce398b647ef0",
        ),
    ),
    "memory_color": (Download(f"{_COLORS}/memory_colors.jsonl", ("memory_colors.jsonl",), 1 * _MB),),
    "color_terms": (
        Download(
            f"{_VALM}/object_color/color-concrete-objects.csv",
            ("color-concrete-objects.csv",),
            1 * _MB,
            checksum="sha256:73868e5177ae9d4f1b98f6f88572e165b3f7d0ad2609f06c1ca79bc2bd0f8192",
        ),
    ),
    "coco_caption": (Download(_KARPATHY, ("dataset_coco.json",), 100 * _MB), _COCO_VAL, _COCO_TRAIN),
    "flickr30k": (Download(_KARPATHY, ("dataset_flickr30k.json",), 100 * _MB),),
    "vqav2": (
        Download(f"{_VQA}/v2_Questions_Val_mscoco.zip", ("v2_OpenEnded_mscoco_val2014_questions.json",), 20 * _MB),
        Download(f"{_VQA}/v2_Annotations_Val_mscoco.zip", ("v2_mscoco_val2014_annotations.json",), 50 * _MB),
        Download(
            f"{_VQA}/v2_Questions_Train_mscoco.zip",
            ("v2_OpenEnded_mscoco_train2014_questions.json",),
            40 * _MB,
            use="demonstrations",
        ),
        Download(
            f"{_VQA}/v2_Annotations_Train_mscoco.zip",
            ("v2_mscoco_train2014_annotations.json",),
            80 * _MB,
            use="demonstrations",
        ),
        Download(
            f"{_VQA}/v2_Questions_Test_mscoco.zip",
            ("v2_OpenEnded_mscoco_test*2015_questions.json",),
            60 * _MB,
            use="server",
        ),
        Download(_COCO_VAL.url, _COCO_VAL.gives, _COCO_VAL.bytes, "", _COCO_VAL.checksum, beside="coco_caption"),
        Download(
            _COCO_TRAIN.url,
            _COCO_TRAIN.gives,
            _COCO_TRAIN.bytes,
            "",
            _COCO_TRAIN.checksum,
            "demonstrations",
            "coco_caption",
        ),
        Download(f"{_COCO}/test2015.zip", ("test2015/*.jpg",), 14 * _GB, use="server"),
    ),
    "vizwiz": (
        Download(
            f"{_VIZWIZ}/vqa_data/Annotations.zip",
            ("Annotations/val.json", "Annotations/train.json", "Annotations/test.json"),
            60 * _MB,
        ),
        Download(f"{_VIZWIZ}/images/val.zip", ("val/*.jpg",), 4 * _GB),
        Download(f"{_VIZWIZ}/images/train.zip", ("train/*.jpg",), 12 * _GB, use="demonstrations"),
        Download(f"{_VIZWIZ}/images/test.zip", ("test/*.jpg",), 5 * _GB, use="server"),
    ),
    "cub": (
        Download(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
            ("CUB_200_2011/*.txt", "CUB_200_2011/images/*/*.jpg"),
            1_300 * _MB,
            checksum="md5:97eceeb196236b17998738112f37df78",
        ),
    ),
}


def downloads_of(benchmark: Benchmark) -> tuple[Download, ...]:
    """The downloads that a benchmark needs, without what only the server's form of it does."""
    found = DOWNLOADS.get(benchmark.folder or benchmark.name, ())
    if benchmark.split.startswith("test") and benchmark.folder:  # the form for the server has the test's files alone
        return tuple(one for one in found if one.use != "demonstrations")
    return tuple(one for one in found if one.use != "server")
