"""What a job asks to be kept of its work: from declarations to specs, or complaints with their places.

What belongs here: artifacts and caches as the pipeline file means them. What does not: the rest of a job
(`core.pipeline`), and what is kept in the end (`core.kept`).
"""

from __future__ import annotations

from typing import Final

from surveil.core.declared import ArtifactDeclaration, CacheDeclaration, JobDeclaration, Text
from surveil.core.filling import Filler, Later
from surveil.core.globs import read_globs
from surveil.core.spelling import quoted
from surveil.protocol import ARTIFACTS_MAX, CACHE_KEYS_MAX, CACHES_MAX, ArtifactSpec, CacheSpec

KEY_CHARACTERS_MAX: Final = 300
"""Of a cache, before its hashes are filled in, which have 64 each."""
HOME: Final = "~/"
"""How a path begins that lies in the job's home."""
SHORT_NAME: Final = "files"
"""What an artifact is called whose patterns stand in the list themselves."""


def artifacts_of(job: JobDeclaration, filler: Filler) -> tuple[ArtifactSpec, ...]:
    """The artifacts of one cell of a job."""
    if len(job.artifacts) > ARTIFACTS_MAX:
        place = job.artifacts[ARTIFACTS_MAX].name.place
        filler.complain(f"a job has at most {ARTIFACTS_MAX} artifacts; this one has {len(job.artifacts)}", place)
        return ()
    specs: dict[str, ArtifactSpec] = {}
    for declared in job.artifacts:
        spec = _artifact(declared, filler)
        if spec.name in specs:
            filler.complain(f"there are two artifacts {quoted(spec.name)}", declared.name.place, "rename one of them")
        specs[spec.name] = spec
    return tuple(specs.values())


def _artifact(declared: ArtifactDeclaration, filler: Filler) -> ArtifactSpec:
    paths = []
    for text in declared.paths:
        path = filler.fill(text)
        try:
            read_globs((path,))
        except ValueError as error:
            filler.complain(f"`paths`: {error}", text.place)
        paths.append(path)
    if not paths:
        filler.complain(f"the artifact {quoted(declared.name.value)} has no paths", declared.name.place)
    return ArtifactSpec(
        name=declared.name.value, paths=tuple(paths), required=declared.required, retention_ms=declared.retention_ms
    )


def caches_of(job: JobDeclaration, filler: Filler) -> tuple[CacheSpec, ...]:
    """The caches of one cell of a job."""
    if len(job.cache) > CACHES_MAX:
        filler.complain(f"a job has at most {CACHES_MAX} caches, not {len(job.cache)}", job.cache[CACHES_MAX].key.place)
        return ()
    return tuple(_cache(declared, filler) for declared in job.cache)


def _cache(declared: CacheDeclaration, filler: Filler) -> CacheSpec:
    if len(declared.restore_keys) > CACHE_KEYS_MAX:
        place = declared.restore_keys[CACHE_KEYS_MAX].place
        filler.complain(f"a cache has at most {CACHE_KEYS_MAX} `restore_keys`", place)
    if not declared.paths:
        filler.complain("a cache without `paths` holds nothing", declared.key.place)
    return CacheSpec(
        key=_key(declared.key, filler),
        restore_keys=tuple(_key(key, filler) for key in declared.restore_keys[:CACHE_KEYS_MAX]),
        paths=tuple(_path(path, filler) for path in declared.paths),
    )


def _key(text: Text, filler: Filler) -> str:
    key = filler.fill(text, Later.FILES)
    if not key.isprintable() or not 0 < len(key) <= KEY_CHARACTERS_MAX:
        filler.complain(f"a cache's key is one line of 1 to {KEY_CHARACTERS_MAX} characters", text.place)
    return key


def _path(text: Text, filler: Filler) -> str:
    """A path as it is compared from job to job."""
    path = filler.fill(text).rstrip("/")
    parts = path.removeprefix(HOME).split("/")
    wrong = not path.isprintable() or len(path) > KEY_CHARACTERS_MAX or {"", ".", "..", "~", ".git"} & set(parts)
    if wrong or path.startswith("!") or set(path) & set("*?[]{}\\"):
        filler.complain(
            f"{quoted(path)} cannot be cached: write a file or folder of the work tree, like `node_modules`, or of the "
            "job's home, like `~/.cache/pip`; patterns are not taken",
            text.place,
        )
    return path
