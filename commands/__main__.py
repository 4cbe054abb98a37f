"""Run the command line as `python -m commands`."""

from commands.main import main

main()
