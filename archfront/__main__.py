"""`python -m archfront` is the `archfront` program."""

from .cli import main

main()
