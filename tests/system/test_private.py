"""A private repository behind a real sshd, from its commit to a verdict, with real processes."""

import pytest

from tests.mirror.servers import needs_sshd, serve_ssh
from tests.system.processes import Place
from tests.system.repository import commit, make_repository, pipeline

pytestmark = [pytest.mark.timeout(300), needs_sshd]


def test_a_private_repository_is_watched_submitted_and_tested_over_ssh(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("cat word"))
    commit(repo, "A word", word="sesame")
    with serve_ssh(place.folder / "ssh") as ssh:
        address = f"{ssh.address}{repo}"
        file = str(ssh.access.ssh_config)
        with place.up("--interval", "200ms", "--ssh-config", file, address) as up:
            up.wait_for("passed    build 1: ")
            assert place.typed("logs", "1", "test", "-f", "--data", str(place.data)).stdout == "sesame"
            commit(repo, "Another word", word="mellon")
            up.wait_for("passed    build 2: ")
            submitted = place.run(
                "submit", "--repo", address, "--ssh-config", file, "--wait", "--data", str(place.data)
            )
            assert (submitted.returncode, submitted.stdout) == (0, "3\n"), submitted.stderr

            ssh.know("other")
            refused = place.run("submit", "--repo", address, "--data", str(place.data), SURVEIL_SSH_CONFIG=file)
            assert refused.returncode == 7
            assert "shows another key than before" in refused.stderr
            assert "`ssh-keygen -R" in refused.stderr
            up.wait_for(f"{address} is at a host that shows another key")
            ssh.know()
            up.wait_for(f"{address} can be read again")
            commit(repo, "Once more", word="friend")
            up.wait_for("passed    build 4: ")
        # With `up`, its runners have the same key.
        log = (place.data / "up.log").read_text()
        assert "is asked for through the dispatcher" not in log
        assert ssh.sessions() == 0
    assert place.processes() == []
