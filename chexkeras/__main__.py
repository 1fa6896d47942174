"""Lets ``python -m chexkeras`` run the command line."""

from chexkeras.cli import main

main()
