"""For which jobs a secret is, and which of several a job gets."""

from __future__ import annotations

import pytest

from surveil.core.scopes import Scope, choose
from tests.store.records import make_secret

WHERE = {"repo": "https://example.org/lib.git", "ref": "refs/heads/main", "job": "deploy"}


@pytest.mark.parametrize(
    ("scope", "covers"),
    [
        (Scope(), True),
        (Scope(repo="https://example.org/lib.git"), True),
        (Scope(repo="https://example.org/*"), True),
        (Scope(repo="*lib.git", ref="refs/heads/*", job="dep*"), True),
        (Scope(repo="lib.git"), False),
        (Scope(repo="https://example.org/lib"), False),
        (Scope(ref="refs/heads/mai"), False),
        (Scope(ref="refs/tags/*"), False),
        (Scope(job="deploy2"), False),
        (Scope(repo="https://example.org/*", job="test"), False),
    ],
)
def test_a_scope_covers_what_all_its_patterns_match_as_a_whole(scope: Scope, covers: bool) -> None:
    assert scope.covers(**WHERE) is covers


def test_of_several_secrets_a_job_gets_the_one_that_says_most_about_it() -> None:
    everybody = make_secret(scope=Scope())
    repo = make_secret(scope=Scope(repo="https://example.org/*"))
    exact = make_secret(scope=Scope(repo="https://example.org/lib.git"))
    branch = make_secret(scope=Scope(repo="*", ref="refs/heads/main"))
    other = make_secret(scope=Scope(repo="*", ref="refs/tags/*", job="deploy"))
    assert choose([everybody], "TOKEN", **WHERE) == everybody
    assert choose([everybody, repo], "TOKEN", **WHERE) == repo
    assert choose([exact, everybody, repo], "TOKEN", **WHERE) == exact
    assert choose([exact, everybody, branch, repo, other], "TOKEN", **WHERE) == branch
    assert choose([other], "TOKEN", **WHERE) is None
    assert choose([everybody], "TOKE", **WHERE) is None
