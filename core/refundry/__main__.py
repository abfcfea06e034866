"""`python -m refundry` is the command line."""

from refundry.cli import main

main()
