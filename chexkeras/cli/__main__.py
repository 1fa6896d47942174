"""Lets ``python -m chexkeras.cli`` run the command line."""

from chexkeras.cli import main

main()
