"""The rehearsal pair: two real hosts, and all that surrounds them, on one machine and without a cloud.

settings      which lab this is (name, ports, directories)
nodes         who is in it, and on which network
requirements  what the operator's machine must have
room          inotify instances for its hosts
image         the hosts' image and the package repository, built once and kept
keys          what ssh and the toolkit find in .lab/
network       nodes as links, routes and nftables rules (text only)
world         the namespaces around it all, and how to enter and end them
machine       one node: boot, power off, reset, snapshot, run something inside
front         what stands before the AWS API: log of calls, faults, instance metadata
gateway       runs inside the world: the AWS API, the Elastic IP, the way in through loopback
control       up, down, status
api           what tests and drills call
tasks         the commands
"""
