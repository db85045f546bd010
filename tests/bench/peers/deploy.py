"""What `inv setup` makes true, as pyinfra says it. desired.json holds the same resources."""

from pyinfra import host
from pyinfra.operations import apt, files, server, systemd

desired = host.data.desired

files.link(path="/etc/localtime", target=f"../usr/share/zoneinfo/{desired['timezone']}", force=True)
apt.packages(packages=desired["packages"], no_recommends=True)
for one in desired["users"]:
    server.user(
        user=one["name"],
        system=True,
        home=one["home"],
        shell=one["shell"],
        create_home=False,
        ensure_home=False,  # else it gives them directories whose owner is another in what follows
    )
for one in desired["directories"]:
    files.directory(path=one["path"], user=one["owner"], group=one["group"], mode=one["mode"])
for one in desired["files"]:
    files.put(src=one["source"], dest=one["path"], user=one["owner"], group=one["group"], mode=one["mode"])
for name in desired["services"]:
    systemd.service(service=name, running=True, enabled=True)
