"""The environment: Python, packages, processor, GPUs, threads, memory, disk, limits, npm."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import kosmos
from kosmos.doctor.registry import Finding, Subject, bytes_in_words, check, ok, problem, warning

# What an environment must have for a run of any size; a soft limit of 256 is usual on macOS.
_OPEN_FILES = 1024
_FREE_BYTES = 2e9
_USAGE = 2


@check("environment", "python")
def python(subject: Subject) -> Iterator[Finding]:
    system = f"{platform.system()} {platform.machine()}"
    yield ok(f"kosmos {kosmos.__version__}, Python {platform.python_version()}, {system}")


@check("environment", "packages")
def packages(subject: Subject) -> Iterator[Finding]:
    """Every package of pyproject.toml: there, within its range, and as tested."""
    from packaging.requirements import Requirement

    try:
        stated = importlib.metadata.requires("kosmos") or []
    except importlib.metadata.PackageNotFoundError:
        yield warning("kosmos is not installed, so its requirements are not known", "pip install -e . in its folder")
        return
    tested = tested_versions()
    found: list[str] = []
    missing_extras: set[str] = set()
    differing: list[str] = []
    # A package that several extras ask for is named once.
    for requirement in map(Requirement, dict.fromkeys(stated)):
        extras = _extras(requirement)
        if requirement.name == "kosmos" or "dev" in extras:
            continue
        version = _version(requirement.name)
        if version is None and extras:
            missing_extras |= extras
        elif version is None:
            yield problem(f"{requirement.name} is not installed", f"pip install '{requirement.name}'", _USAGE)
        elif not requirement.specifier.contains(version, prereleases=True):
            do = f"pip install '{requirement.name}{requirement.specifier}'"
            yield problem(f"{requirement.name} {version} is outside of {requirement.specifier}", do, _USAGE)
        elif f"{requirement.name} {version}" not in found:
            found.append(f"{requirement.name} {version}")
            wanted = tested.get(requirement.name)
            if wanted and _minor(version) != _minor(wanted):
                differing.append(f"{requirement.name} {version} (tested: {wanted})")
    if found:
        yield ok(f"installed: {', '.join(found)}")
    if differing:
        do = "if something is odd: pip install -c constraints.txt -e ."
        yield warning(f"other versions than tested: {', '.join(differing)}", do)
    if missing_extras:
        names = ", ".join(sorted(missing_extras))
        yield ok(f"extras not installed, or in part: {names} (pip install 'kosmos[NAME]' where one is needed)")


def _extras(requirement: object) -> set[str]:
    """The extras that ask for a requirement; empty for one that is always needed."""
    marker = str(getattr(requirement, "marker", None) or "")
    pieces = marker.replace("'", '"').split('extra == "')[1:]
    return {piece.split('"')[0] for piece in pieces}


def tested_versions() -> dict[str, str]:
    """Name -> version of constraints.txt, which lies in the package or above it; empty where there is none."""
    package = Path(kosmos.__file__).parent
    for place in (package / "constraints.txt", package.parent / "constraints.txt"):
        if place.is_file():
            lines = [line.split("#")[0].strip() for line in place.read_text(encoding="utf-8").splitlines()]
            pairs = [line.split("==") for line in lines if "==" in line]
            return {name.strip().replace("_", "-"): version.strip() for name, version in pairs}
    return {}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _minor(version: str) -> list[str]:
    return version.split("+")[0].split(".")[:2]


@check("environment", "processor")
def processor(subject: Subject) -> Iterator[Finding]:
    import torch

    from kosmos.training.precision import choose_precision

    capability = torch.backends.cpu.get_cpu_capability()
    precision = choose_precision("auto", torch.device("cpu"))
    said = "multiplies bf16 natively" if precision == "bf16" else "has no native bf16"
    yield ok(f"CPU: {capability}, {said}: `precision: auto` is {precision} on it")


@check("environment", "gpu")
def gpu(subject: Subject) -> Iterator[Finding]:
    import torch

    from kosmos.training.hardware import recognize

    if not torch.cuda.is_available():
        if any(Path("/dev").glob("nvidia[0-9]*")):
            do = "install a build of torch for this driver (pytorch.org), and look at `nvidia-smi`"
            yield warning(f"a GPU is here, but torch {torch.__version__} cannot use it", do)
        else:
            yield ok("no GPU: training runs on the CPU")
        return
    for number in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(number)
        free, total = torch.cuda.mem_get_info(number)
        hardware = recognize(name)
        peak = f"{hardware.bf16 / 1e12:g} TFLOP/s in bf16" if hardware else "its peak is measured for MFU"
        said = f"GPU {number}: {name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free, {peak}"
        if free < 0.5 * total:
            yield warning(said, "something else uses it: look at `nvidia-smi`")
        else:
            yield ok(said)
    if torch.cuda.device_count() > 1 and not torch.distributed.is_nccl_available():
        yield problem("several GPUs, and this torch has no NCCL", "install torch's CUDA build for Linux", _USAGE)


@check("environment", "threads")
def threads(subject: Subject) -> Iterator[Finding]:
    from kosmos.training.threads import number_of_threads, usable_cores

    cores = usable_cores()
    number = number_of_threads(subject.config.threads if subject.config is not None else 0)
    if number > cores:
        yield warning(f"threads: {number} on {cores} usable cores", "set OMP_NUM_THREADS, or threads, to no more")
    else:
        yield ok(f"threads: {number} on {cores} usable cores")


@check("environment", "memory")
def memory(subject: Subject) -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield ok(f"memory: {bytes_in_words(total)}")


@check("environment", "disk")
def disk(subject: Subject) -> Iterator[Finding]:
    """Space where runs are written and where the cache is."""
    from kosmos.data.picturebook.packages import cache_directory

    for what, place in (("here" if subject.run is None else str(subject.run), subject.place), ("cache", _cache())):
        free = shutil.disk_usage(place).free
        if not os.access(place, os.W_OK):
            do = "set KOSMOS_CACHE to a folder that can be written" if what == "cache" else "choose another folder"
            yield warning(f"{what}: {place} cannot be written", do)
        elif free < _FREE_BYTES:
            yield warning(f"{what}: {bytes_in_words(free)} free", "free some space, or choose another disk")
        else:
            yield ok(f"{what}: {bytes_in_words(free)} free" + (f" ({cache_directory()})" if what == "cache" else ""))


def _cache() -> Path:
    """The cache folder, or what of its path is there."""
    from kosmos.data.picturebook.packages import cache_directory

    place = cache_directory()
    return next(folder for folder in (place, *place.absolute().parents) if folder.is_dir())


@check("environment", "limits")
def limits(subject: Subject) -> Iterator[Finding]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    size = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if files != resource.RLIM_INFINITY and files < _OPEN_FILES:
        yield warning(f"only {files} files may be open at once", f"ulimit -n {4 * _OPEN_FILES}")
    if size != resource.RLIM_INFINITY:
        yield warning(f"files may not grow over {size:,} bytes", "ulimit -f unlimited")
    if files >= _OPEN_FILES or files == resource.RLIM_INFINITY:
        yield ok(f"limits: {'any number of' if files == resource.RLIM_INFINITY else f'{files:,}'} open files")


@check("environment", "npm")
def npm(subject: Subject) -> Iterator[Finding]:
    """Only the demo's drawings come by npm."""
    from kosmos.data.picturebook.packages import INSTALL_NPM, PACKAGES, cache_directory, npm_command
    from kosmos.errors import DataError

    here = [package for package in PACKAGES if (cache_directory() / "packages" / package.filename).is_file()]
    if len(here) == len(PACKAGES):
        yield ok("the demo's drawings are in the cache")
        return
    try:
        yield ok(f"npm: {' '.join(npm_command())}, which fetches the demo's drawings")
    except DataError:
        yield warning("no npm: `kosmos demo` cannot fetch its drawings", INSTALL_NPM)
