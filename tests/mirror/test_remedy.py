"""What git, ssh and curl say of a remote becomes one sentence with the next command."""

import pytest

from surveil.mirror.access import Access
from surveil.mirror.address import parse
from surveil.mirror.remedy import remote_failure, silence
from surveil.mirror.trouble import Output, Trouble

URL = "https://example.org/a.git"
SSH = "ssh://git@example.org:2222/a.git"
BY_HAND = f"type `git ls-remote -- {URL}` to ask it by hand."


def said(address: str, stderr: str) -> tuple[Trouble, str]:
    problem = remote_failure(Output(status=128, stdout=b"", stderr=stderr), parse(address, "/"), Access())
    return problem.trouble, str(problem)


@pytest.mark.parametrize(
    ("address", "stderr", "trouble", "sentence"),
    [
        (
            "git@no.where:a",
            "ssh: Could not resolve hostname no.where: Name or service not known\r\nfatal: Could not read from remote",
            Trouble.UNREACHABLE,
            (
                "git@no.where:a is at a host whose name leads nowhere; "
                "check the address, and type `getent hosts no.where`."
            ),
        ),
        (
            "git://127.0.0.1:9/a",
            "fatal: unable to connect to 127.0.0.1:\n127.0.0.1[0: 127.0.0.1]: errno=Connection refused\n",
            Trouble.UNREACHABLE,
            (
                "git://127.0.0.1:9/a cannot be reached, for nobody listens there; "
                "type `git ls-remote -- git://127.0.0.1:9/a` to ask it by hand."
            ),
        ),
        (
            "http://[::1]:81/a",
            (
                "fatal: unable to access 'http://[::1]:81/a/': Failed to connect to ::1 port 81 after 3 ms: "
                "Couldn't connect to server\n"
            ),
            Trouble.UNREACHABLE,
            (
                "http://[::1]:81/a cannot be reached, for nobody listens there; "
                "type `git ls-remote -- 'http://[::1]:81/a'` to ask it by hand."
            ),
        ),
        (
            SSH,
            "Connection closed by remote host\nfatal: Could not read from remote repository.\n",
            Trouble.UNREACHABLE,
            f"{SSH} is reached, but the connection does not hold; type `git ls-remote -- {SSH}` to ask it by hand.",
        ),
        (
            SSH,
            "git@example.org: Permission denied (publickey).\nfatal: Could not read from remote repository.\n",
            Trouble.REFUSED,
            (
                f"{SSH} takes none of this user's ssh keys; type `ssh -T -p 2222 git@example.org` to see why "
                "(a key with a passphrase needs an agent, see docs/how-to/private-repositories.md)."
            ),
        ),
        (
            URL,
            "error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502\nfatal: early EOF\n",
            Trouble.UNREACHABLE,
            f"{URL} cannot be served at the moment (HTTP 502); {BY_HAND}",
        ),
        (URL, "fatal: something new\n", Trouble.FAILED, f"{URL}: fatal: something new; {BY_HAND}"),
    ],
)
def test_each_failure_is_one_sentence_with_the_next_command(
    address: str, stderr: str, trouble: Trouble, sentence: str
) -> None:
    assert said(address, stderr) == (trouble, sentence)


def test_a_pack_that_was_cut_short_is_no_damage_unless_the_remote_says_so() -> None:
    cut = "fetch-pack: unexpected disconnect while reading sideband packet\nfatal: protocol error: bad pack header\n"
    assert said(URL, cut) == (Trouble.UNREACHABLE, f"{URL} was cut off in the middle of its answer; {BY_HAND}")
    assert said(URL, "remote: error: bad tree object 1234\n" + cut)[0] is Trouble.CORRUPT
    assert said(URL, "error: inflate: data stream error\nfatal: fsck error in packed object\n")[0] is Trouble.CORRUPT


def test_a_full_disk_is_ours_unless_the_remote_says_that_it_is_its_own() -> None:
    full = "fatal: write error: No space left on device\n"
    assert said(URL, full) == (
        Trouble.NO_SPACE,
        (
            f"{URL}: fatal: write error: No space left on device. "
            "Make room on this machine's disk; type `df -h` to see how much there is."
        ),
    )
    assert BY_HAND in said(URL, "remote: " + full)[1]


def test_silence_names_its_length_and_the_command() -> None:
    assert str(silence(parse(URL, "/"), Access(), 60.0, "ls-remote")) == (
        f"{URL} gave no answer within 60 s (git ls-remote); {BY_HAND}"
    )


def test_strange_characters_of_an_address_stay_one_word_of_the_command() -> None:
    assert (
        "`git ls-remote -- 'https://example.org/a;touch$x'`" in said("https://example.org/a;touch$x", "fatal: no\n")[1]
    )
