"""The `fieldmark` command line: one short module for each command."""
