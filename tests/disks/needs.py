"""What a test needs of its machine to have a disk of its own. What belongs here: the mark, and nothing else."""

import os
from pathlib import Path

import pytest

ON_A_DISK_OF_OURS = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="only root can mount a disk of ours, by /dev/fuse"
)
