"""Every setting: who wins, where it came from, and what is said when it is wrong."""

# ruff: noqa: E501  # A table of mistakes is read one case a line.

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surveil.config import (
    ROLES,
    ClientConfig,
    DispatcherConfig,
    Loaded,
    ObserverConfig,
    RunnerConfig,
    UpConfig,
    WebConfig,
    data_home,
    default_file,
    load,
    name_of_this_machine,
    slots_of_this_machine,
)
from surveil.config.roles import Setting, settings_of
from surveil.core.policy import Policy
from surveil.errors import InvalidError, SurveilError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's real configuration takes part."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def wrong(
    flags: dict[str, object | None] | None = None,
    environ: dict[str, str] | None = None,
    file: str | bytes | None = None,
    *,
    home: Path,
    error: type[SurveilError] = InvalidError,
) -> list[str]:
    """The lines of complaint, with the folder of this test called HOME."""
    config = write(home / "surveil.toml", file) if file is not None else None
    with pytest.raises(SurveilError) as caught:
        load(UpConfig, flags or {}, environ=environ or {}, config_file=config)
    assert type(caught.value) is error
    return str(caught.value).replace(str(home), "HOME").splitlines()


def test_without_any_setting_every_role_has_its_defaults(home: Path) -> None:
    assert load(DispatcherConfig, {}, environ={}).value == DispatcherConfig(
        data=home / "data/surveil",
        listen="tcp://127.0.0.1:7300",
        database=None,
        spawn=0,
        log_format="auto",
        log_level="info",
        policy=Policy(),
    )
    assert load(ObserverConfig, {}, environ={}).value == ObserverConfig(
        data=home / "data/surveil/observer",
        dispatcher=None,
        join=None,
        name=name_of_this_machine(),
        repos=(),
        refs=("refs/heads/*",),
        interval_ms=None,
        log_format="auto",
        log_level="info",
    )
    assert load(RunnerConfig, {}, environ={}).value == RunnerConfig(
        data=home / "data/surveil/runner",
        dispatcher=None,
        join=None,
        name=name_of_this_machine(),
        slots=slots_of_this_machine(),
        labels=(),
        log_format="auto",
        log_level="info",
    )
    assert load(ClientConfig, {}, environ={}).value == ClientConfig(
        data=home / "data/surveil", dispatcher=None, join=None
    )
    loaded = load(UpConfig, {}, environ={})
    assert loaded.value == UpConfig(
        data=home / "data/surveil",
        listen="tcp://127.0.0.1:7300",
        http=None,
        database=None,
        repos=(),
        refs=("refs/heads/*",),
        interval_ms=None,
        runners=1,
        slots=slots_of_this_machine(),
        labels=(),
        once=False,
        log_format="auto",
        log_level="info",
        policy=Policy(),
    )
    assert set(loaded.origins.values()) == {"default"}
    assert set(loaded.origins) == set(settings_of(UpConfig))


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(home: Path) -> None:
    file = write(default_file(), 'listen = "tcp://file:1"\nspawn = 1\nlog_level = "debug"\ndatabase = "sqlite:///f"\n')
    environ = {"SURVEIL_LISTEN": "tcp://environment:2", "SURVEIL_SPAWN": "2", "SURVEIL_LOG_LEVEL": "error"}
    loaded = load(DispatcherConfig, {"listen": "tcp://flag:3", "spawn": 3, "log_level": None}, environ=environ)
    value = loaded.value
    assert (value.listen, value.spawn, value.log_level, value.database) == ("tcp://flag:3", 3, "error", "sqlite:///f")
    assert loaded.origins["listen"] == "flag --listen"
    assert loaded.origins["log_level"] == "environment SURVEIL_LOG_LEVEL"
    assert loaded.origins["database"] == str(file)
    assert loaded.origins["vault"] == "default"
    assert file == home / "config/surveil/config.toml"


def test_the_file_is_named_by_the_flag_else_by_the_environment_else_it_is_the_usual_one(home: Path) -> None:
    write(default_file(), "spawn = 1")
    by_environment = write(home / "environment.toml", "spawn = 2")
    by_flag = write(home / "flag.toml", "spawn = 3")
    environ = {"SURVEIL_CONFIG": str(by_environment)}
    assert load(DispatcherConfig, {}, environ={}).value.spawn == 1
    assert load(DispatcherConfig, {}, environ=environ).value.spawn == 2
    assert load(DispatcherConfig, {}, environ=environ, config_file=by_flag).value.spawn == 3
    assert load(DispatcherConfig, {}, environ=environ, config_file=str(by_flag)).value.spawn == 3


def test_keys_at_the_top_are_for_all_roles_and_those_of_a_role_win_over_them(home: Path) -> None:
    file = write(
        home / "c.toml",
        'dispatcher = "tcp://all:1"\nslots = 2\nrepos = ["/a"]\n[role.runner]\ndispatcher = "tcp://own:2"\n[role.up]\nonce = true\n',
    )
    runner = load(RunnerConfig, {}, environ={}, config_file=file)
    assert (runner.value.dispatcher, runner.value.slots) == ("tcp://own:2", 2)
    assert runner.origins["dispatcher"] == f"{file} under [role.runner]"
    assert runner.origins["slots"] == str(file)
    assert load(ClientConfig, {}, environ={}, config_file=file).value.dispatcher == "tcp://all:1"


def test_lists_come_from_flags_files_and_the_environment(home: Path) -> None:
    environ = {"SURVEIL_LABELS": "linux, gpu\narm64,,linux", "SURVEIL_REPOS": "/a,https://example.org/b.git"}
    refs = ("main", "refs/tags/*", "tags/v*", "heads/x", "!wip/*", "!tags/*-rc", "HEAD")
    loaded = load(UpConfig, {"refs": refs, "repos": ()}, environ=environ)
    assert loaded.value.labels == ("linux", "gpu", "arm64")
    assert loaded.value.repos == ("/a", "https://example.org/b.git")
    assert loaded.value.refs == (
        "refs/heads/main", "refs/tags/*", "refs/tags/v*", "refs/heads/x", "!refs/heads/wip/*", "!refs/tags/*-rc", "HEAD",
    )  # fmt: skip
    assert load(UpConfig, {"refs": loaded.value.refs}, environ={}).value.refs == loaded.value.refs
    assert loaded.origins["refs"] == "flag --ref"
    file = write(home / "c.toml", 'labels = ["a", "b"]')
    assert load(RunnerConfig, {}, environ={}, config_file=file).value.labels == ("a", "b")


def test_durations_are_texts_with_units_and_flags_may_have_read_them_already() -> None:
    assert load(UpConfig, {"interval": "1m30s"}, environ={}).value.interval_ms == 90_000
    assert load(UpConfig, {"interval": 90_000}, environ={}).value.interval_ms == 90_000
    assert load(UpConfig, {}, environ={"SURVEIL_INTERVAL": "500ms"}).value.interval_ms == 500


def test_the_policy_can_be_changed_number_by_number(home: Path) -> None:
    file = write(home / "c.toml", '[policy]\nlease = "20s"\nlost_max = 5\n[role.up.policy]\nlease = "30s"\n')
    environ = {"SURVEIL_POLICY_HEARTBEAT": "5s"}
    loaded = load(DispatcherConfig, {}, environ=environ, config_file=file)
    assert loaded.value.policy == Policy(lease_ms=20_000, lost_max=5, heartbeat_ms=5_000)
    assert loaded.origins["policy.heartbeat"] == "environment SURVEIL_POLICY_HEARTBEAT"
    assert loaded.origins["policy.lease"] == str(file)
    assert load(UpConfig, {}, environ={}, config_file=file).value.policy.lease_ms == 30_000


def test_paths_are_made_absolute_and_the_home_folder_is_meant_by_a_tilde(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert load(ClientConfig, {"data": "x/../y"}, environ={}).value.data == home / "y"
    assert load(ClientConfig, {"data": Path("z")}, environ={}).value.data == home / "z"
    assert load(ClientConfig, {}, environ={"SURVEIL_DATA": "~/d"}).value.data == home / "d"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("127.0.0.1:7300", "tcp://127.0.0.1:7300"),
        ("tcp://[::1]:0", "tcp://[::1]:0"),
        ("tcp://*:65535", "tcp://*:65535"),
        ("ci.example.org:07300", "tcp://ci.example.org:7300"),
    ],
)
def test_addresses_are_brought_into_one_form(typed: str, read: str) -> None:
    assert load(DispatcherConfig, {"listen": typed}, environ={}).value.listen == read


@pytest.mark.parametrize(
    ("typed", "read"),
    [(":8080", "127.0.0.1:8080"), ("http://0.0.0.0:80/", "0.0.0.0:80"), ("[::]:1", "[::]:1"), ("off", "off")],
)
def test_addresses_of_pages_are_brought_into_one_form(typed: str, read: str) -> None:
    assert load(WebConfig, {"http": typed}, environ={}).value.http == read


def test_a_value_can_stand_in_a_file_that_a_variable_names(home: Path) -> None:
    secret = write(home / "token", "svl1.abc\n")
    loaded = load(RunnerConfig, {}, environ={"SURVEIL_JOIN_FILE": str(secret)})
    assert loaded.value.join == "svl1.abc"
    assert loaded.origins["join"] == f"file {secret}, named by SURVEIL_JOIN_FILE"


def test_what_is_shown_covers_secrets_and_tells_origins() -> None:
    environ = {"SURVEIL_JOIN": "svl1.secret"}
    shown = {each.key: each for each in load(RunnerConfig, {"labels": ["a", "b"]}, environ=environ).shown()}
    assert (shown["join"].value, shown["join"].origin) == ("***", "environment SURVEIL_JOIN")
    assert (shown["labels"].value, shown["labels"].origin) == ("a, b", "flag --label")
    assert (shown["dispatcher"].value, shown["dispatcher"].origin) == ("", "default")
    assert "svl1.secret" not in str(shown)
    url = "postgresql+psycopg://ci:hush@db/surveil"
    up: Loaded[UpConfig] = load(UpConfig, {"database": url, "interval": "90s"}, environ={})
    values = {each.key: each.value for each in up.shown()}
    assert values["database"] == "postgresql+psycopg://ci:***@db/surveil"
    assert (values["interval"], values["policy.lease"], values["once"]) == ("90s", "8s", "false")
    assert up.value.database == url


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"listen": "tcp://x"}, "`listen`, set by flag --listen: `tcp://x` is not an address like `tcp://127.0.0.1:7300`"),
        ({"listen": "tcp://x:99999"}, "`listen`, set by flag --listen: `tcp://x:99999` is not an address like `tcp://127.0.0.1:7300`"),
        ({"listen": "ipc:///tmp/x"}, "`listen`, set by flag --listen: `ipc:///tmp/x` is not an address like `tcp://127.0.0.1:7300`"),
        ({"http": "x"}, "`http`, set by flag --http: `x` is not an address like `127.0.0.1:8080`"),
        ({"slots": 0}, "`slots`, set by flag --slots: `0` is not a whole number from 1 to 1024"),
        ({"slots": True}, "`slots`, set by flag --slots: `true` is not a whole number from 1 to 1024"),
        ({"slots": "1e3"}, "`slots`, set by flag --slots: `1e3` is not a whole number from 1 to 1024"),
        ({"interval": "2"}, "`interval`, set by flag --interval: `2` is not a duration: write a number and a unit, like `90s`, `10m` or `2h`"),
        ({"interval": "1ms"}, "`interval`, set by flag --interval: `1ms` is outside of 100 ms to 86400000 ms"),
        ({"labels": ["a b"]}, "`labels`, set by flag --label: `a b` is not a label: use letters, digits and `_.:/=+-`, at most 64"),
        ({"repos": ["--upload-pack=x"]}, "`repos`, set by argument REPO: `--upload-pack=x` is neither a path nor a URL; for a path write `./--upload-pack=x`"),
        ({"refs": ["-x"]}, "`refs`, set by flag --ref: `-x` is not a pattern of refs like `refs/heads/*`"),
        ({"data": ""}, "`data`, set by flag --data: expected a path, not ``"),
        ({"log_format": "xml"}, "`log_format`, set by flag --log-format: `xml` is not one of `auto`, `text`, `json`"),
        ({"database": "x y"}, "`database`, set by flag --database: expected a URL like `sqlite:////var/lib/surveil/surveil.db`"),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_a_usage_error_that_names_it(
    home: Path, flags: dict[str, object | None], sentence: str
) -> None:
    assert wrong(flags, home=home, error=UsageError) == [sentence]


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"SURVEIL_SLOTS": "many"}, "`slots`, set by environment SURVEIL_SLOTS: `many` is not a whole number from 1 to 1024"),
        ({"SURVEIL_LISTN": "x"}, "unknown variable `SURVEIL_LISTN` in the environment; did you mean `SURVEIL_LISTEN`?"),
        ({"SURVEIL_ONCE": "maybe"}, "`once`, set by environment SURVEIL_ONCE: `maybe` is neither `true` nor `false`"),
        ({"SURVEIL_DATA": "x", "SURVEIL_DATA_FILE": "y"}, "both SURVEIL_DATA and SURVEIL_DATA_FILE are set: remove one of them"),
        ({"SURVEIL_DATA_FILE": "/nowhere"}, "cannot read /nowhere, named by SURVEIL_DATA_FILE: there is no such file"),
        ({"SURVEIL_DATA_FILE": "/dev/zero"}, "cannot read /dev/zero, named by SURVEIL_DATA_FILE: there is no such file"),
        ({"SURVEIL_CONFIG": "/nowhere"}, "cannot read the configuration file /nowhere: there is no such file"),
    ],
)  # fmt: skip
def test_a_wrong_environment_is_named_with_its_variable(home: Path, environ: dict[str, str], sentence: str) -> None:
    assert wrong(environ=environ, home=home) == [sentence]


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("slotz = 1", "unknown key `slotz` in HOME/surveil.toml; did you mean `slots`?"),
        ("slots = 'x'", "`slots`, set by HOME/surveil.toml: `x` is not a whole number from 1 to 1024"),
        ("slots = [1]", "`slots`, set by HOME/surveil.toml: a list is not a whole number from 1 to 1024"),
        ("listen = 1", "`listen`, set by HOME/surveil.toml: expected a text, not `1`"),
        ("labels = {a = 1}", "`labels`, set by HOME/surveil.toml: expected a list, not a table"),
        ("labels = [1]", "`labels`, set by HOME/surveil.toml: expected a text, not `1`"),
        ("interval = 1.5", "`interval`, set by HOME/surveil.toml: expected a duration like `90s`, not `1.5`"),
        ("[role.up]\nonce = 1", "`once`, set by HOME/surveil.toml under [role.up]: `1` is neither `true` nor `false`"),
        ("[role.runer]\nslots = 1", "unknown role `runer` in HOME/surveil.toml; did you mean `runner`?"),
        ("[role.runner]\nlisten = 'x'", "unknown key `listen` in HOME/surveil.toml under [role.runner]; known are `credentials`, `data`, `dispatcher`, `engine`, `expose`, `join`, `labels`, `log_format`, `log_level`, `memory`, `name`, `processes`, `sandbox`, `slots`, `ssh_config`"),
        ("role = 1", "`role` in HOME/surveil.toml must be a table like `[role.runner]`"),
        ("[role]\nup = 1", "`role.up` in HOME/surveil.toml must be a table"),
        ("[policy]\nleese = '1s'", "unknown key `policy.leese` in HOME/surveil.toml; did you mean `policy.lease`?"),
        ("policy = 1", "`policy` in HOME/surveil.toml must be a table like `[policy]`"),
        ("[policy]\nlease = '3s'", "`policy.lease` (3s) must be at least two heartbeats (2s each), or one lost message would lose a job; set by HOME/surveil.toml"),
        ("[policy]\nmargin = '8s'", "`policy.margin` (8s) must be shorter than `policy.lease` (8s); set by HOME/surveil.toml"),
        ("slots = x", "HOME/surveil.toml:1:9: this is not TOML: Invalid value"),
        ("a = " + "[" * 100_000, "HOME/surveil.toml: this is not TOML: it is nested too deeply"),
        (b"\xff", "the configuration file HOME/surveil.toml is not UTF-8"),
        (b"#" * 2_000_000, "cannot read the configuration file HOME/surveil.toml: it is larger than 1048576 bytes"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_explained_with_key_and_place(home: Path, file: str | bytes, sentence: str) -> None:
    assert wrong(file=file, home=home) == [sentence]


def test_all_problems_are_reported_at_once_and_the_environments_make_it_a_configuration_error(home: Path) -> None:
    said = wrong({"slots": 0}, {"SURVEIL_ONCE": "x", "SURVEIL_X": "1"}, "nonsense = 1", home=home)
    assert len(said) == 4


def test_an_empty_variable_is_as_good_as_none() -> None:
    environ = {
        "SURVEIL_DATA": "",
        "SURVEIL_HTTP": "",
        "SURVEIL_CONFIG": "",
        "SURVEIL_LISTEN_FILE": "",
        "SURVEIL_TYPO": "",
    }
    assert set(load(UpConfig, {}, environ=environ).origins.values()) == {"default"}


def test_variables_of_other_roles_and_of_steps_are_no_mistakes() -> None:
    environ = {
        "SURVEIL_SLOTS": "nonsense",
        "SURVEIL_SHA": "0" * 40,
        "SURVEIL": "true",
        "SURVEIL_RUNNER": "r",
        "PATH": "x",
    }
    assert load(ClientConfig, {}, environ=environ).origins == {
        "data": "default",
        "dispatcher": "default",
        "server": "default",
        "token": "default",
        "join": "default",
        "trusted_refs": "default",
        "ssh_config": "default",
        "credentials": "default",
    }


def test_a_wrong_value_of_another_role_in_the_file_is_that_roles_matter(home: Path) -> None:
    file = write(home / "c.toml", "[role.runner]\nslots = 'x'\n")
    assert load(ClientConfig, {}, environ={}, config_file=file).value.dispatcher is None
    with pytest.raises(InvalidError, match="slots"):
        load(RunnerConfig, {}, environ={}, config_file=file)


@pytest.mark.parametrize("role", ROLES)
def test_every_setting_has_a_variable_of_its_own_and_a_meaning(role: str) -> None:
    known: dict[str, Setting] = settings_of(ROLES[role])
    assert len({setting.variable for setting in known.values()}) == len(known)
    assert all(setting.meaning for setting in known.values())
    assert not any(setting.variable.endswith("_FILE") for setting in known.values())


def test_importing_the_configuration_is_cheap() -> None:
    code = (
        "import sys, surveil.config; "
        "print([m for m in ('pydantic', 'yaml', 'tomllib.x', 'platformdirs', 'difflib', 'zmq', 'sqlalchemy', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_the_data_folder_is_the_platforms(home: Path) -> None:
    assert data_home() == home / "data/surveil"


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([s.variable for s in settings_of(UpConfig).values()] + ["SURVEIL_Q", "SURVEIL_DATA_FILE"]),
        st.text(max_size=30),
        max_size=4,
    )
)
def test_any_environment_is_read_or_explained(environ: dict[str, str]) -> None:
    try:
        load(UpConfig, {}, environ=environ, config_file=None)
    except InvalidError as error:
        assert str(error)  # noqa: PT017  # both outcomes are right, nothing else is
