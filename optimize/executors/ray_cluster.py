"""Decides which nodes of a cluster take part in a study: those with the same Python, torch and data, and one model of device.

It asks no node anything and does not know Ray: `ray.py` does both.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from optimize.errors import ExecutorError
from optimize.executors.ray_node import NodeFacts
from optimize.runner.prepare import Preparation
from optimize.trial import NO_GPU, Slot

CONNECT_S = 5.0  # for the cluster's head to accept a connection: Ray itself would try for ever


@dataclass(frozen=True, slots=True)
class Cluster:
    """What an executor over many machines has to know; it asks the nodes for the rest."""

    device: str  # of the profile: cpu, cuda, rocm
    preparation: Preparation | None = None  # how a node gets its data,
    data: str = ""  # which must have the driver's fingerprint there,
    env: Mapping[str, str] = field(default_factory=dict)  # the environment of trials and of the preparation,
    own: frozenset[str] = frozenset()  # and those of its variables of which each node uses its own value
    count: int | None = None  # slots at most
    gpus_per_trial: int = 1
    mixed_devices: bool = False
    model: str = ""  # of device that the study needs; "" if any will do, but one for all unless `mixed_devices`
    say: Callable[[str], None] = lambda line: None


def places(resources: Mapping[str, float], cluster: Cluster) -> int:
    """Return how many trials fit on a node at a time: each takes a core, and its GPUs."""
    cores = int(resources.get("CPU", 0))
    return cores if cluster.device == "cpu" else min(int(resources.get("GPU", 0)) // cluster.gpus_per_trial, cores)


def slots_of(node: str, count: int, cluster: Cluster, model: str) -> list[Slot]:
    """Return a node's slots. Their numbers count places: Ray chooses which of the GPUs a trial gets."""
    kind, env = ("cpu", NO_GPU) if cluster.device == "cpu" else ("gpu", {})
    return [Slot(f"{node}/{kind}:{place}", env, model) for place in range(count)]


def model_of(resources: Mapping[str, float], cluster: Cluster) -> str:
    """Return the model of device, as far as the cluster knows it without asking the node."""
    models = [name.partition(":")[2] for name in resources if name.startswith("accelerator_type:")]
    return models[0] if models and cluster.device != "cpu" else cluster.device


def host_of(info: Mapping[str, Any]) -> str:
    """Return the name that `ray start --node-name` gave a node, else its host's."""
    named = info.get("NodeName") or ""
    return str(named if named not in ("", info["NodeManagerAddress"]) else info["NodeManagerHostname"])


def seeming_slots(infos: Iterable[Mapping[str, Any]], cluster: Cluster) -> list[Slot]:
    """Return the slots that there seem to be, before any node is asked. Raises ExecutorError if there is none."""
    names, found = Names(), list[Slot]()
    for info in infos:
        resources, name = info["Resources"], names.name(info["NodeID"], host_of(info))
        found += slots_of(name, places(resources, cluster), cluster, model_of(resources, cluster))
    if not found:
        raise ExecutorError(nothing_to_offer(cluster))
    return found[: cluster.count]


def unreachable(address: str) -> str:
    """Return why nobody accepts a connection at this address, "" if somebody does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def misfit(node: str, found: NodeFacts, here: NodeFacts) -> str:
    """Return why values from this node could not be compared with others, "" if they can."""
    for what, there, ours in (("Python", found.python, here.python), ("torch", found.torch, here.torch)):
        if there != ours:
            return (
                f"node {node}: it has {what} {there}, this machine has {ours}. Install the same on both, "
                "or take the node out of the cluster"
            )
    return ""


class Names:
    """Short names of nodes, given once: the host's, with a number where several have the same."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def name(self, node_id: str, host: str) -> str:
        """Return the name of this node."""
        if node_id not in self._given:
            taken, name, number = set(self._given.values()), host, 2
            while name in taken:
                name, number = f"{host}-{number}", number + 1
            self._given[node_id] = name
        return self._given[node_id]


class State(Enum):
    """How far a node has come."""

    ASKED = auto()
    PREPARING = auto()
    READY = auto()
    OUT = auto()  # does not fit: it stays idle


@dataclass(eq=False, slots=True)
class Node:
    """One machine of the cluster, as far as it is known. `steward` is the actor that answers for it there."""

    id: str
    name: str
    model: str
    places: int
    session: str
    steward: Any
    state: State = State.ASKED
    slots: list[Slot] = field(default_factory=list)


class Roster:
    """The nodes of the cluster, and which of them can be used.

    There are no slots before every node of the beginning has answered, and one that does not fit is an error. A node that
    comes later and does not fit is left out, with a line.
    """

    def __init__(self, cluster: Cluster, here: NodeFacts) -> None:
        self._cluster, self._here, self._names = cluster, here, Names()
        self._nodes: dict[str, Node] = {}
        self._problems: list[str] = []
        self._settled, self._model = False, ""

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._nodes

    def has(self, node: Node) -> bool:
        """Return whether the node is still there, and not added anew since."""
        return self._nodes.get(node.id) is node

    def ready(self) -> list[Node]:
        """Return the nodes that can run trials."""
        return [node for node in self._nodes.values() if node.state is State.READY]

    def asked(self) -> list[Node]:
        """Return the nodes that have not answered yet."""
        return [node for node in self._nodes.values() if node.state is State.ASKED]

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots of all ready nodes, at most `count`; none before all nodes of the beginning have answered."""
        if not self._settled:
            return ()
        return tuple([slot for node in self.ready() for slot in node.slots][: self._cluster.count])

    def node_of(self, slot: Slot) -> Node:
        """Return the node that has this slot."""
        return next(node for node in self._nodes.values() if slot in node.slots)

    def add(self, node_id: str, host: str, resources: Mapping[str, float], session: str, steward: Any) -> Node:
        """Add a node that has been asked."""
        model, count = model_of(resources, self._cluster), places(resources, self._cluster)
        node = Node(node_id, self._names.name(node_id, host), model, count, session, steward)
        self._nodes[node_id] = node
        return node

    def keep(self, alive: Collection[str]) -> None:
        """Drop all nodes but these."""
        for node in [node for node in self._nodes.values() if node.id not in alive]:
            self.drop(node, "it is no longer part of the cluster")

    def drop(self, node: Node, why: str) -> None:
        """Forget a node that has gone."""
        if self.has(node):
            del self._nodes[node.id]
            if node.state is State.READY:
                self._cluster.say(f"node {node.name}: gone: {why}")
            if self._settled and not self.ready():
                self._cluster.say("no node is left: waiting for one to come. Ctrl-C ends the study")
            self.settle()

    def failed(self, node: Node, why: str) -> None:
        """Its steward has died: drop it, so that it is added anew; leave it out if it was not ready yet."""
        if node.state is State.READY:
            self.drop(node, why)
        elif self.has(node):
            self._out(node, f"node {node.name}: it cannot be used: {why}")

    def answered(self, node: Node, found: NodeFacts) -> None:
        """Take a node's answer: it prepares its data now, or is out."""
        node.model = found.device or node.model
        node.state = State.PREPARING
        if problem := misfit(node.name, found, self._here):
            self._out(node, problem)

    def prepared(self, node: Node, data: str, problem: str = "") -> None:
        """Take the fingerprint of a node's data, or the problem that it had: the node is ready now, or out."""
        if problem:
            self._out(node, f"node {node.name}: its data cannot be prepared: {problem}")
        elif data != self._cluster.data:
            here = self._cluster.data or "none"
            self._out(
                node,
                f"node {node.name}: its data has the fingerprint {data or 'none'}, this machine's has {here}. "
                "Give both the same source: packages, files, shards",
            )
        else:
            node.slots = slots_of(node.name, node.places, self._cluster, node.model)
            node.state = State.READY
            self._check_model(node)
            self.settle()
            if node.state is State.READY:
                self._cluster.say(f"node {node.name}: ready, {node.places} x {node.model}")

    def give_up_silent(self) -> None:
        """Leave out the nodes that have not answered."""
        for node in self.asked():
            self._out(
                node, f"node {node.name}: it does not answer. Look at `ray status`, or take it out of the cluster"
            )

    def settle(self) -> None:
        """Offer slots, once all nodes of the beginning have answered. Raises ExecutorError if one of them does not fit."""
        states = {node.state for node in self._nodes.values()}
        if self._settled or states & {State.ASKED, State.PREPARING}:
            return
        if self._problems:
            raise ExecutorError(*self._problems)
        models = Counter({node.model: 0 for node in self.ready()})
        for node in self.ready():
            models[node.model] += node.places
        if not models:
            raise ExecutorError(nothing_to_offer(self._cluster))
        wanted = self._cluster.model
        if wanted and wanted not in models:
            raise ExecutorError(
                f"executor ray: the study's trials ran on {wanted}, the cluster has {', '.join(sorted(models))}: under a time "
                "budget their values are not comparable. Add a node that has it, or go on and have the values marked: "
                "`optimize ... --mixed-devices`"
            )
        self._settled, self._model = True, wanted or models.most_common(1)[0][0]
        for node in self.ready():
            self._check_model(node)

    def _check_model(self, node: Node) -> None:
        if self._settled and node.model != self._model and not self._cluster.mixed_devices:
            node.state = State.OUT
            self._cluster.say(
                f"node {node.name}: it stays idle: it has {node.model}, the study runs on {self._model}, and their values "
                "could not be compared"
            )

    def _out(self, node: Node, problem: str) -> None:
        node.state = State.OUT
        if self._settled:
            self._cluster.say(f"{problem}. It is left out")
        else:
            self._problems.append(problem)
            self.settle()


def nothing_to_offer(cluster: Cluster) -> str:
    """Return the line for a cluster on which no trial fits."""
    what = "core" if cluster.device == "cpu" else f"{cluster.gpus_per_trial} GPU and a core"
    return f"executor ray: no node of the cluster has a {what} to give. See `ray status`; add nodes, or use another profile"
