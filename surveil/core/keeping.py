"""What a job asks to be kept of its work: from declarations to specs, or complaints with their places.

What belongs here: artifacts as the pipeline file means them. What does not: the rest of a job (`core.pipeline`), and
what is kept in the end (`core.kept`).
"""

from __future__ import annotations

from typing import Final

from surveil.core.declared import ArtifactDeclaration, JobDeclaration
from surveil.core.filling import Filler
from surveil.core.globs import read_globs
from surveil.core.spelling import quoted
from surveil.protocol import ARTIFACTS_MAX, ArtifactSpec

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
