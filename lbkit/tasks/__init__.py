"""The commands by name, with their options and help. No logic: that is in commands.py and oncall.py.

command               how a function becomes a command; the options that many have
runbook               plan, setup, and each step alone
oncall                what only looks
moves                 what moves service on purpose
backend, cert, sync   the commands `inv backend.…`, `inv cert.…`, `inv sync.…`

`inv --list` imports all of it: what costs time is imported in functions.
"""
