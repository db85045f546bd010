"""The way to AWS from the operator's machine: clients made once, short timeouts, errors in plain words.

Nothing else on this side imports botocore. It costs 150 ms: imported where it is used.
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lbkit import errors
from lbkit.inventory import Cluster, Eip

# botocore's own limits are 60 s to connect and 60 s to read: too long for somebody who waits.
PATIENT: dict[str, Any] = {
    "connect_timeout": 3,
    "read_timeout": 10,
    "retries": {"mode": "standard", "max_attempts": 4},
}
HURRIED: dict[str, Any] = {"connect_timeout": 1.5, "read_timeout": 2, "retries": {"total_max_attempts": 1}}
AGAIN_S, AGAIN_EVERY_S = 60, 1  # a new role, profile or group is known everywhere only after a while


class Api:
    """The account behind the pair, as the inventory's `[aws]` says it is reached."""

    def __init__(self, cluster: Cluster) -> None:
        assert isinstance(cluster.address, Eip), "only a pair with an Elastic IP has an account behind it"
        self.region, self.aws = cluster.address.region, cluster.aws
        # A topic may be in another region than the pair: its ARN says in which.
        self._regions = {"sns": cluster.notify.topic.split(":")[3]} if cluster.notify.topic else {}
        self._limits = PATIENT
        self._clients: dict[tuple[str, bool], Any] = {}
        self._session: Any = None
        self._lock = threading.Lock()  # botocore's session is for one thread at a time; its clients are not

    def client(self, service: str) -> Any:
        """botocore's client of one service. Raises AwsFailed where there is no such profile."""
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        kind = (service, self._limits is HURRIED)
        with self._lock:
            if kind in self._clients:
                return self._clients[kind]
            config = Config(
                **self._limits,
                use_dualstack_endpoint=self.aws.endpoint is None,
                max_pool_connections=10,
            )
            try:
                if self._session is None:
                    self._session = Session(profile=self.aws.profile)
                    if self.aws.credentials_file:
                        self._session.set_config_variable("credentials_file", self.aws.credentials_file)
                made = self._session.create_client(
                    service,
                    region_name=self.region_of(service),
                    endpoint_url=self.aws.endpoint,
                    config=config,
                )
            except BotoCoreError as error:
                raise self._failed(
                    f"preparing calls to {service} in {self.region_of(service)}", error
                ) from None
            self._clients[kind] = made
            return made

    @contextlib.contextmanager
    def hurried(self) -> Iterator[None]:
        """Meanwhile each call is tried once, for two seconds: its answer is worth less than the rest of a
        picture."""
        self._limits = HURRIED
        try:
            yield
        finally:
            self._limits = PATIENT

    def region_of(self, service: str) -> str:
        """Where the service is called."""
        return self._regions.get(service, self.region)

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn`, …: the part of AWS that the pair's region belongs to, as ARNs name it."""
        return str(self.client("ec2").meta.partition)

    def warm(self, *services: str) -> None:
        """The clients are made, without names those that the inventory asks for; what stands in their way the
        first call says."""
        asked = {"ec2": True, "iam": self.aws.iam, "sns": self.aws.sns}
        with contextlib.suppress(errors.AwsFailed):
            for service in services or [name for name, table in asked.items() if table]:
                self.client(service)

    def read(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """The whole answer of an operation that only reads, all its pages. Raises AwsFailed."""
        client = self.client(service)
        if client.can_paginate(operation):
            return self._do(service, operation, arguments, lambda: _whole(client, operation, arguments))
        return self._do(service, operation, arguments, lambda: getattr(client, operation)(**arguments))

    def write(self, request: dict[str, Any]) -> None:
        """Does one `call`. Raises AwsFailed."""
        service, operation, arguments = request["service"], request["operation"], request["arguments"]
        client, deadline = self.client(service), time.monotonic() + AGAIN_S
        while True:
            try:
                self._do(service, operation, arguments, lambda: getattr(client, operation)(**arguments))
                return
            except errors.AwsFailed as error:
                if error.code in request["done_on"]:
                    return
                if error.code not in request["again_on"] or time.monotonic() > deadline:
                    raise
            time.sleep(AGAIN_EVERY_S)

    def _do(self, service: str, operation: str, arguments: dict[str, Any], work: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = work()
        except (BotoCoreError, ClientError) as error:
            what = f"{service}:{action(operation)}{about(arguments)} in {self.region_of(service)}"
            raise self._failed(what, error) from None
        return answer

    def _failed(self, what: str, error: Exception) -> errors.AwsFailed:
        answer = getattr(error, "response", None) or {}
        code, message = (answer.get("Error", {}).get(name, "") for name in ("Code", "Message"))
        said = f"{code}: {message}" if code else f"{type(error).__name__}: {error}"
        next_step = self._next_step(code, error, what)
        return errors.AwsFailed(f"AWS: {what} failed ({said}).\nNext: {next_step}.", code)

    def _next_step(self, code: str, error: Exception, what: str) -> str:
        name = type(error).__name__
        whose = self.aws.profile or self.aws.credentials_file or "the AWS CLI's default credentials"
        check = "aws sts get-caller-identity" + (f" --profile {self.aws.profile}" if self.aws.profile else "")
        if "Credentials" in name or name in ("ProfileNotFound", "TokenRetrievalError", "SSOError"):
            if file := self.aws.credentials_file:
                return f"put credentials into {file} (`aws.credentials_file`, `aws.profile`)"
            return f"give this machine credentials (`aws.profile`, `aws.credentials_file`); try: {check}"
        if code in _STALE_KEY:
            return f"renew {whose}; try: {check}"
        if code in _DENIED:
            needed = denied(what.split(" ")[0], str(error))
            return f"allow {needed} to whoever runs lbkit ({check}); docs/aws.md lists all"
        if code in _THROTTLED or code.startswith(("Internal", "ServiceUnavailable")):
            return "wait a minute, then run it again; it goes on from there"
        if code.endswith(("LimitExceeded", "QuotaExceeded")):
            return "ask AWS for a higher quota, or free what is not needed, then run it again"
        if code.endswith((".NotFound", ".Malformed")) or code == "NoSuchEntity":
            return "mend the id in the inventory, or `address.region`; then inv plan"
        if not code:
            where = self.aws.endpoint or f"the AWS API of {self.region}"
            return f"does this machine reach {where}? `aws.endpoint`, `address.region`; then run it again"
        return "mend what AWS says, then run it again; it goes on from there"


_STALE_KEY = ("AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException",
              "ExpiredToken", "ExpiredTokenException", "RequestExpired")  # fmt: skip
_DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthorizationError")
_THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException")


# AWS asks for the right to hand out the role too, and does not always name it in its refusal.
_HANDS_OUT_A_ROLE = ("ec2:AssociateIamInstanceProfile", "iam:AddRoleToInstanceProfile")


def client_at(url: str, service: str, region: str, key: str, secret: str) -> Any:
    """botocore's client for the API at that address, with that access key and none of this machine's."""
    from botocore.session import Session

    keys = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    return Session().create_client(service, region_name=region, endpoint_url=url, **keys)


def denied(called: str, said: str) -> str:
    """The actions to allow, after AWS refused a call: the one that it names, else the one that was called."""
    named = re.search(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)", said)
    if named:
        return named[1]
    return f"{called} and iam:PassRole" if called in _HANDS_OUT_A_ROLE else called


@functools.cache
def of(cluster: Cluster) -> Api:
    """The one of this process."""
    return Api(cluster)


def call(
    service: str,
    operation: str,
    arguments: dict[str, Any],
    *,
    again_on: tuple[str, ...] = (),
    done_on: tuple[str, ...] = (),
) -> dict[str, Any]:
    """One write, as data: the `request` of a Change. operation: as botocore names it (`create_route`).

    again_on: codes after which it is tried again for a minute, since what it names may be too new to be known
    everywhere. done_on: codes that say that it is so already (the read before lagged).
    """
    return {
        "service": service,
        "operation": operation,
        "arguments": arguments,
        "again_on": again_on,
        "done_on": done_on,
    }


def _whole(client: Any, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.get_paginator(operation).paginate(**arguments).build_full_result()
    return found


def together(questions: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """The answers by the questions' names, asked side by side. Raises what one of them raises."""
    with ThreadPoolExecutor(len(questions)) as pool:
        begun = {name: pool.submit(question) for name, question in questions.items()}
        return {name: future.result() for name, future in begun.items()}


def action(operation: str) -> str:
    """The action as a policy names it: `DescribeVpcs` of `describe_vpcs`."""
    return "".join(part.capitalize() for part in operation.split("_"))


def about(arguments: dict[str, Any]) -> str:
    """` of vpc-1, …`: the first ids and names among the arguments, in words for a message."""
    found: list[str] = []
    for name, value in arguments.items():
        if name.endswith(("Id", "Ids", "Name", "Arn")):
            found += [value] if isinstance(value, str) else [str(one) for one in value]
        elif name == "Filters":
            found += [one for each in value for one in each["Values"]]
    return f" of {', '.join(found[:3])}{' …' if len(found) > 3 else ''}" if found else ""
