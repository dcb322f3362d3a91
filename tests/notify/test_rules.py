"""The file of rules: what it means, and what is said of what it cannot mean."""

from pathlib import Path

import pytest

from surveil.config.tables import FILE_BYTES_MAX
from surveil.core.turns import News
from surveil.errors import InvalidError
from surveil.forge.app import App
from surveil.forge.gitea import Gitea
from surveil.forge.github import GitHub
from surveil.notify.channel_rules import MailRule, MailServer
from surveil.notify.checks import CheckRule
from surveil.notify.rules import Rules, load_rules
from surveil.notify.statuses import Rule
from surveil.notify.wanting import Wanted


def load(folder: Path, text: str) -> Rules:
    (folder / "notify.toml").write_text(text)
    return load_rules(folder / "notify.toml")


def test_a_forge_needs_its_kind_and_a_token(tmp_path: Path) -> None:
    [rule] = load(tmp_path, '[[forge]]\nkind = "github"\ntoken_file = "github.token"\n').forges
    told = rule.told
    assert isinstance(told, Rule)
    assert (told.name, told.context, told.jobs, told.projects, rule.private) == ("github", "surveil", "all", (), False)
    assert (told.forge.url, told.forge.token) == ("https://github.com", tmp_path / "github.token")
    assert isinstance(told.forge.words, GitHub)


def test_all_else_can_be_said_of_a_forge(tmp_path: Path) -> None:
    text = """
    [[forge]]
    kind = "forgejo"
    name = "ours"
    url = "https://git.example.org:3000/below"
    token_file = "/etc/surveil/token"
    context = "ci/second"
    jobs = "wrong"
    private = true
    projects = {"/srv/it.git" = "acme/it"}
    """
    [rule] = load(tmp_path, text).forges
    told = rule.told
    assert isinstance(told, Rule)
    assert (told.name, told.context, told.jobs, rule.private) == ("ours", "ci/second", "wrong", True)
    assert told.projects == (("/srv/it.git", "acme/it"),)
    assert (told.forge.url, told.forge.token) == ("https://git.example.org:3000/below", Path("/etc/surveil/token"))
    assert isinstance(told.forge.words, Gitea)


@pytest.mark.parametrize("app", ["4711", '"4711"'])
def test_an_app_of_github_tells_checks(tmp_path: Path, app: str) -> None:
    text = f'[[forge]]\nkind = "github"\napp = {app}\nkey_file = "app.pem"\ncontext = "ci"\n'
    [rule] = load(tmp_path, text).forges
    wanted = App(url="https://github.com", id="4711", key=tmp_path / "app.pem")
    assert rule.told == CheckRule(name="github", app=wanted, context="ci")


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("", ["says nothing"]),
        ("[[forge]\n", ["is no TOML"]),
        ("forge = 3", ["written as [[forge]]"]),
        ("[[forge]]\n", ["forge 1: `kind` is missing", "forge 1: `url` is missing", "`token_file` is missing"]),
        ('[[forge]]\nkind = "gitea"\ntoken_file = "t"', ["forge 1: `url` is missing"]),
        ('[[forge]]\nkind = "sourceforge"\nurl = "https://a.b"\ntoken_file = "t"', ["`kind`", "not one of `github`"]),
        ('[[forge]]\nkind = "github"\ntoken = "t"\ntoken_file = "t"', ["no key `token`", "did you mean `token_file`"]),
        ('[[forge]]\nkind = "gitea"\ntoken_file = "t"\nurl = "http://git.example.org"', ["show its token"]),
        ('[[forge]]\nkind = "github"\ntoken_file = "t"\njobs = "some"', ["`jobs`", "`wrong`"]),
        ('[[forge]]\nkind = "github"\ntoken_file = "t"\ncontext = "a\\tb"', ["`context`"]),
        ('[[forge]]\nkind = "github"\ntoken_file = "t"\nprojects = ["a"]', ["`projects`", "a table from repositories"]),
        ('[[forge]]\nkind = "github"\napp = 1', ["forge 1: `key_file` is missing"]),
        ('[[forge]]\nkind = "github"\nkey_file = "k"', ["forge 1: `app` is missing"]),
        ('[[forge]]\nkind = "gitlab"\napp = 1\nkey_file = "k"', ["an `app` is of GitHub"]),
        ('[[forge]]\nkind = "github"\napp = 1\nkey_file = "k"\ntoken_file = "t"', ["instead of a `token_file`"]),
        ('[[forge]]\nkind = "github"\napp = true\nkey_file = "k"', ["`app`"]),
        ('[[forge]]\nkind = "github"\napp = "a/../b"\nkey_file = "k"', ["`a/../b` is no id of an app"]),
        ('[[forges]]\nkind = "github"', ["no key `forges`", "did you mean `forge`"]),
        ('[[forge]]\nkind = "github"\ntoken_file = "t"\n' * 2, ["`github` is there twice"]),
        ('[[forge]]\nkind = "gitlab"\nname = "-x"\ntoken_file = "t"', ["cannot be a name"]),
    ],
)
def test_what_a_file_cannot_mean_is_said_all_at_once_with_its_place(
    tmp_path: Path, text: str, complaints: list[str]
) -> None:
    with pytest.raises(InvalidError) as caught:
        load(tmp_path, text)
    for complaint in complaints:
        assert complaint in str(caught.value)
    assert all(line.startswith(str(tmp_path)) for line in str(caught.value).splitlines())


def test_a_file_that_is_not_there_or_endless_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="--rules"):
        load_rules(tmp_path / "notify.toml")
    with pytest.raises(InvalidError, match="256 KiB"):
        load(tmp_path, "#" * (FILE_BYTES_MAX + 1))


MAIL = '[[mail]]\nserver = "smtp.example.org"\nfrom = "a@example.org"\nto = ["b@example.org"]\n'


def test_a_mail_channel_needs_a_server_and_addresses(tmp_path: Path) -> None:
    [rule] = load(tmp_path, MAIL).channels
    assert (rule.name, rule.wanted) == ("mail", Wanted())
    assert rule.way == MailRule(
        server=MailServer(host="smtp.example.org", port=587, encryption="starttls"),
        sender="a@example.org", to=("b@example.org",),
    )  # fmt: skip


def test_all_else_can_be_said_of_a_mail_channel(tmp_path: Path) -> None:
    text = MAIL.replace('"smtp.example.org"', '"[fd00::1]:465"') + (
        'name = "team"\nuser = "u"\npassword_file = "p"\nauthority_file = "/etc/ca.pem"\nprivate = true\n'
        'repos = ["/srv/*"]\nrefs = ["main"]\nevents = ["runner lost", "passed"]\n'
    )
    [rule] = load(tmp_path, text).channels
    assert isinstance(rule.way, MailRule)
    assert rule.way.server == MailServer(
        host="fd00::1", port=465, encryption="tls", user="u", password_file=tmp_path / "p", private=True,
        authority=Path("/etc/ca.pem"),
    )  # fmt: skip
    assert rule.wanted.news == {News.RUNNER_LOST, News.PASSED}
    assert [rule.wanted.of(repo, "refs/heads/main") for repo in ("/srv/it", "/opt/it")] == [True, False]
    assert [rule.wanted.of("/srv/it", ref) for ref in ("refs/heads/main", "refs/tags/main")] == [True, False]
    [local] = load(tmp_path, MAIL.replace("smtp.example.org", "localhost")).channels
    assert isinstance(local.way, MailRule)
    assert (local.way.server.encryption, local.way.server.port) == ("none", 25)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[mail]]", "mail 1: `server` is missing\n"),
        (MAIL + 'password = "p"', "no key `password`, did you mean"),
        (MAIL + 'password_file = "p"', "mail 1: `user` and `password_file` go together"),
        (MAIL + 'encryption = "none"', "only on this machine"),
        (MAIL + 'encryption = "ssl"', "`encryption`: `ssl` is not one of"),
        (MAIL + 'events = ["broke"]', "`events`: `broke` is not one of `broken`"),
        (MAIL + "events = []", "nobody would be told anything"),
        (MAIL + 'refs = ["HEAD"]', "name that branch"),
        (MAIL + 'refs = ["a..b"]', "`refs`: The ref pattern"),
        (MAIL + "repos = []", "leave it out for all repositories"),
        (MAIL.replace("b@example.org", "b@example.org\\r\\nBcc: c"), "`to`"),
        (MAIL.replace("b@example.org", "Bob <b@example.org>"), "is no address like"),
        (MAIL.replace('"b@example.org"', ""), "0 addresses are not 1 to 50"),
        (MAIL.replace("smtp.example.org", "smtp://example.org"), "is no mail server like"),
        (MAIL * 2, "`mail` is there twice"),
    ],
)
def test_what_a_mail_channel_cannot_be_is_said(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidError) as caught:
        load(tmp_path, text)
    assert complaint.replace(", did you mean", "") in str(caught.value) + "\n"
