"""The file that says where people sign in: what it means, and what is said of what it cannot mean."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from surveil.errors import InvalidError, UsageError
from surveil.store.people import Role
from surveil.web.providers.opening import opened_providers
from surveil.web.providers.rules import FILE, LASTS_MS, Arrival, Kind, ProviderRule, load_providers

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "people.md"
LEAST = """
[[oidc]]
name = "corp"
issuer = "https://id.example.org"
client_id = "surveil"
[[oidc.role]]
role = "read"
"""
FORGE = """
[[github]]
name = 'github'
client_id = 'Iv1.8a61f9b3a7aba766'
client_secret_file = 'github.secret'
[[github.role]]
group = 'Shop/Platform'
role = 'run'
"""


def load(folder: Path, text: str) -> tuple[ProviderRule, ...]:
    (folder / FILE).write_text(text)
    return load_providers(folder)


def test_nobody_signs_in_elsewhere_without_the_file(tmp_path: Path) -> None:
    assert load_providers(tmp_path) == ()


def test_the_example_means_what_the_how_to_says(tmp_path: Path) -> None:
    example, _ = re.findall(r"```toml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    [rule] = load(tmp_path, example)
    assert (rule.name, rule.title, rule.issuer) == ("corp", "Example Corp", "https://id.example.org")
    assert (rule.client_secret_file, rule.scopes) == (tmp_path / "corp.secret", ("groups",))
    assert (rule.lasts_ms, rule.trust_names, rule.private) == (LASTS_MS, False, False)

    def roles(*groups: str) -> list[tuple[str, str]]:
        arrival = Arrival(rule=rule, subject="1", called="grace", groups=frozenset(groups))
        assert all(role.source == "corp" for role in arrival.roles)
        return [(role.scope, role.repo) for role in arrival.roles]

    everybody = ("read", "https://git.example.org/public/*")
    assert roles() == [everybody]
    assert roles("shop", "sales") == [("run", "https://git.example.org/shop/*"), everybody]
    assert roles("platform") == [("admin", "*"), everybody]


def test_little_is_needed(tmp_path: Path) -> None:
    [rule] = load(tmp_path, LEAST)
    assert (rule.title, rule.client_secret_file, rule.needs_groups) == ("corp", None, False)
    assert rule.grants[0].role == Role(repo="*", scope="read", source="corp")


def test_the_example_of_forges_means_what_the_how_to_says(tmp_path: Path) -> None:
    _, example = re.findall(r"```toml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    github, gitea = load(tmp_path, example)
    assert (github.kind, github.issuer, github.client_secret_file) == (
        Kind.GITHUB,
        "https://github.com",
        tmp_path / "github.secret",
    )
    assert [(each.group, each.subject, each.role.scope) for each in github.grants] == [
        ("#9919/platform", None, "admin"),
        (None, "583231", "run"),
    ]
    assert (gitea.kind, gitea.name, gitea.issuer) == (Kind.GITEA, "git", "https://git.example.org")
    assert [(each.group, each.role.repo) for each in gitea.grants] == [("shop", "https://git.example.org/shop/*")]


def test_forges_have_the_address_that_most_people_mean_and_names_in_small_letters(tmp_path: Path) -> None:
    [rule] = load(tmp_path, FORGE)
    assert (rule.kind, rule.issuer, rule.grants[0].group) == (Kind.GITHUB, "https://github.com", "shop/platform")
    [rule] = load(tmp_path, FORGE.replace("github", "forgejo").replace("client_secret_file", "#"))
    assert (rule.kind, rule.issuer, rule.client_secret_file) == (Kind.FORGEJO, "https://codeberg.org", None)
    own = FORGE.replace("client_id", "url = 'https://git.example.org/'\nclient_id")
    assert load(tmp_path, own)[0].issuer == "https://git.example.org"
    for_all = FORGE.replace("group = 'Shop/Platform'", "")
    assert load(tmp_path, for_all.replace("run", "read"))[0].grants[0].group is None
    assert load(tmp_path, for_all.replace("client_id", "url = 'https://git.example.org'\nclient_id"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1", "there is no key `x`"),
        ("oidc = 1", "`oidc` is to be written as [[oidc]]"),
        ("[[oidc]]", "oidc 1: `issuer` is missing"),
        (LEAST.replace("https://id", "http://id"), "would show who signs in to the network: use https"),
        (LEAST.replace('"corp"', '"Corp/.."'), "cannot stand behind the `@` of names"),
        (LEAST.replace('"read"', '"owner"'), "oidc 1, role 1: `role`"),
        (LEAST.replace('role = "read"', 'group = "a"'), "oidc 1, role 1: `role` is missing"),
        (LEAST + "repos = []", "`repos` names none"),
        (LEAST + "repo = 'a'", "there is no key `repo`"),
        (LEAST + f"repos = {[str(each) for each in range(201)]}", "gives 201 roles, and 200 are the most"),
        (LEAST + LEAST, "`corp` is there twice"),
        (LEAST.replace("client_id", "session = '1s'\nclient_id"), "oidc 1: `session`"),
        (LEAST.replace("client_id", "scopes = ['a b']\nclient_id"), "is no scope"),
        ("[[", "is no TOML"),
        (LEAST + "group = 'a'\nsubject = 'b'", "write a table for each"),
        (LEAST + FORGE.replace("name = 'github'", "name = 'corp'"), "`corp` is there twice"),
        (FORGE.replace("[github]", "[gitea]"), "gitea 1: `url` is missing"),
        (FORGE.replace("client_secret_file", "#"), "github 1: `client_secret_file` is missing"),
        (FORGE.replace("client_id", "issuer = 'https://a.b'\nclient_id"), "there is no key `issuer`"),
        (FORGE.replace("client_id", "trust_names = true\nclient_id"), "there is no key `trust_names`"),
        (FORGE.replace("client_id", "url = 'http://a.b'\nclient_id"), "would show its token to the network"),
        (FORGE.replace("group = 'Shop/Platform'", ""), "let everybody in the world run"),
        (
            FORGE.replace("client_id", "url = 'https://GitHub.com/'\nclient_id").replace("group =", "# "),
            "in the world run",
        ),
        (FORGE.replace("Shop/Platform", "shop/platform/x"), "is no organisation and no team"),
        (FORGE.replace("Shop/Platform", "#x"), "is no organisation and no team"),
        (FORGE.replace("group = 'Shop/Platform'", "subject = 'grace'"), "is nobody's number"),
    ],
)
def test_what_it_cannot_mean_is_said_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(complaint)) as caught:
        load(tmp_path, text)
    assert str(tmp_path / FILE) in str(caught.value)


def test_people_have_to_be_able_to_come_back(tmp_path: Path) -> None:
    async def opened(public_url: str | None) -> str:
        async with opened_providers(tmp_path, public_url, lambda: 0) as found:
            return found["corp"].back

    (tmp_path / FILE).write_text(LEAST)
    with pytest.raises(UsageError, match="--public-url"):
        asyncio.run(opened(None))
    assert asyncio.run(opened("https://ci.example.org/ci")) == "https://ci.example.org/ci/login/corp/back"


def test_each_provider_is_spoken_with_as_its_table_says_at_an_address_of_its_own(tmp_path: Path) -> None:
    async def ways() -> dict[str, tuple[str, str]]:
        async with opened_providers(tmp_path, "https://ci.example.org", lambda: 0) as found:
            return {name: (type(each).__name__, each.back) for name, each in found.items()}

    (tmp_path / FILE).write_text(LEAST + FORGE)
    assert asyncio.run(ways()) == {
        "corp": ("OpenID", "https://ci.example.org/login/corp/back"),
        "github": ("ForgeProvider", "https://ci.example.org/login/github/back"),
    }
