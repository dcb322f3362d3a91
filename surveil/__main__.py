"""`python -m surveil` is the same as `surveil`."""

from surveil.cli import main

main()
