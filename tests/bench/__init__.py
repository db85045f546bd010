"""How fast lbkit is, beside plain OpenSSH, a shell script, pyinfra and Ansible, on the lab's two hosts.

shell      what lbkit does, as prepared shell scripts, made from the same resources
peers/     what lbkit does, as an Ansible playbook and a pyinfra deploy
contest    who runs, how often, in which order
report     docs/benchmarks.md

`python -m tests.bench` runs it all (as root, about ten minutes). The machine may be busy with something else, so
contestants take turns and what counts are ratios of medians within one run.
"""
