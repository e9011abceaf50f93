"""The workers of one run by name: starting, restarting and ending its learner, engines and graders.

Invariant: a worker's kind is given by the table that it is in, and is never read from its name.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from actors.engines.protocol import Canary
from actors.planning.adapter_slots import check_precision, lora_limit
from actors.planning.placement import Seat
from actors.ray_cluster.calls import InProcess, OneActor, Pending, Target, finish_all, start_failure
from actors.ray_cluster.environment import actor_environment
from actors.ray_cluster.handles import EngineHandle, GraderHandle, LearnerHandle
from actors.ray_cluster.part import Kind, collector_off, part_class
from actors.ray_cluster.watchdog import Whereabouts
from sandbox.loopholes.loophole import Loophole
from vgrout.config import Config
from vgrout.progress import at, phase
from vgrout.records import Pair

LEARNER = "learner"
LEARNER_KIND = Kind("actors.ray_cluster.learner_actor", "LearnerActor")
GRADER_KIND = Kind("actors.ray_cluster.grader_worker", "GraderWorker")
ENGINE_KINDS = {
    "vllm": Kind("actors.engines.vllm", "VllmEngine", ("vllm.entrypoints.llm", "vllm.v1.engine.llm_engine")),
    "hf": Kind("actors.engines.hf", "HfEngine"),
}


class Workers:
    """All workers of a run. Close it to end them."""

    def __init__(self, release: Callable[[], None] | None = None) -> None:
        """`release` gives back what was reserved for the actors."""
        self._release = release
        self._start: dict[str, Callable[[], Target]] = {}
        self._targets: dict[str, Target] = {}
        self._engines: list[str] = []
        self._graders: list[str] = []

    def add_learner(self, start: Callable[[], Target]) -> None:
        """Start the learner; `start` starts it anew after its death."""
        self._add(LEARNER, start)

    def add_engine(self, start: Callable[[], Target]) -> None:
        """Start one more engine."""
        self._engines.append(f"engine-{len(self._engines)}")
        self._add(self._engines[-1], start)

    def add_grader(self, start: Callable[[], Target]) -> None:
        """Start one more grader."""
        self._graders.append(f"grader-{len(self._graders)}")
        self._add(self._graders[-1], start)

    def _add(self, name: str, start: Callable[[], Target]) -> None:
        self._start[name], self._targets[name] = start, start()

    @property
    def learner(self) -> LearnerHandle:
        """The learner; an evaluation has none."""
        return LearnerHandle(self._targets[LEARNER])

    def engine(self, name: str) -> EngineHandle:
        """The engine of a name."""
        return EngineHandle(self._targets[name])

    def grader(self, name: str) -> GraderHandle:
        """The grader of a name."""
        return GraderHandle(self._targets[name])

    @property
    def engine_names(self) -> list[str]:
        """Names of the engines, in the order in which they were added."""
        return list(self._engines)

    @property
    def grader_names(self) -> list[str]:
        """Names of the graders, in the order in which they were added."""
        return list(self._graders)

    @property
    def engines(self) -> list[EngineHandle]:
        """The engines, in order."""
        return [self.engine(name) for name in self._engines]

    @property
    def graders(self) -> list[GraderHandle]:
        """The graders, in order."""
        return [self.grader(name) for name in self._graders]

    def restart(self, name: str) -> None:
        """End what is left of a worker and start it anew. Returns before the new process is up."""
        kill(self._targets[name])
        self._targets[name] = self._start[name]()

    def retire(self, name: str) -> None:
        """Go on without a worker."""
        kill(self._targets.pop(name))
        self._engines = [one for one in self._engines if one != name]
        self._graders = [one for one in self._graders if one != name]

    def dead(self) -> list[str]:
        """Names of the workers whose process does not answer."""
        import ray
        from ray.exceptions import RayActorError

        lost, asked = [], {name: [a.about.remote() for a in target.actors] for name, target in self._targets.items()}
        for name, pending in asked.items():
            try:
                ray.get(pending)
            except RayActorError:
                lost.append(name)
        return lost

    def about(self, name: str) -> Pending[Whereabouts]:
        """Where the (first) process of a worker runs; available once the process is up."""
        return Pending(self._targets[name].actors[0].about.remote())

    def wait_for_start(self) -> None:
        """Return once every actor's constructor has. Raises what failed in one: UserError, or StartFailed with its last line."""
        import ray
        from ray.exceptions import RayActorError

        asked = {a.about.remote(): name for name, target in self._targets.items() for a in target.actors}
        try:
            while asked:
                at(f"starting {', '.join(dict.fromkeys(asked.values()))}")
                done, _ = ray.wait(list(asked), num_returns=1)
                ray.get(done)
                del asked[done[0]]
        except RayActorError as error:
            raise start_failure(error) from None

    def whereabouts(self) -> dict[str, Whereabouts]:
        """Where all workers run; empty without Ray. Raises WorkerDied."""
        names = [name for name, target in self._targets.items() if target.actors]
        return dict(zip(names, finish_all([self.about(name) for name in names]), strict=True))

    def close(self, patience_s: float = 10.0) -> None:
        """Let engines and graders clean up after themselves, and end all actors. Safe where some have died."""
        pending = [worker.close() for worker in [*self.engines, *self.graders]]
        if refs := [one.held for one in pending if one.remote]:
            import ray

            ray.wait(refs, num_returns=len(refs), timeout=patience_s)
        self.abandon()

    def abandon(self) -> None:
        """End all actors at once."""
        for target in self._targets.values():
            kill(target)
        self._targets, self._engines, self._graders = {}, [], []
        if self._release is not None:
            self._release()
            self._release = None


def kill(target: Target) -> None:
    """End a worker's processes."""
    for handle in target.actors:
        import ray

        ray.kill(handle)


def engine_kind(config: Config) -> Kind:
    """The configured engine. Raises UserError here, and not inside an actor, for a configuration that it cannot serve."""
    if config.runtime.engine == "vllm":
        check_precision(config)
        lora_limit(config)
    return ENGINE_KINDS[config.runtime.engine]


def start_workers(config: Config, canary: Canary, *, pairs: list[Pair] | None = None,
                  fractions: list[tuple[float, ...]] | None = None,
                  plug_ins: Mapping[str, Loophole] | None = None) -> Workers:  # fmt: skip
    """Make the workers of a training run (`pairs` given) or of an evaluation. `canary`: the text to check adapters with."""
    engine, runtime = engine_kind(config), config.runtime
    texts = {one.place: one.text for one in (plug_ins or {}).values()}
    if runtime.backend == "ray":
        return _start_on_ray(config, engine, pairs, fractions, canary, texts)
    phase("loading the model")
    with collector_off():
        from actors.ray_cluster.grader_worker import GraderWorker
        from learner.learner import Learner

        workers, engine_class = Workers(), engine.load()
        if pairs is not None:
            workers.add_learner(lambda: InProcess(Learner(config, pairs, fractions, canary)))
        for _ in range(runtime.engines):
            workers.add_engine(lambda: InProcess(engine_class(config, canary)))
        for _ in range(runtime.graders):
            workers.add_grader(lambda: InProcess(GraderWorker(runtime, texts)))
    return workers


def _start_on_ray(
    config: Config,
    engine: Kind,
    pairs: list[Pair] | None,
    fractions: list[tuple[float, ...]] | None,
    canary: Canary,
    plug_ins: Mapping[str, str],
) -> Workers:
    import ray

    from actors.ray_cluster.cluster import connect, reserve
    from actors.ray_cluster.learner_team import team_of

    phase("starting Ray")
    connect(config)
    runtime, reserved = config.runtime, reserve(config, learners=pairs is not None)
    workers = Workers(reserved.release)

    def actor(kind: Kind, role: str, options: dict[str, object], *args: object) -> Any:
        # Variables are set in the process and not by Ray, whose way starts a second Python for every actor.
        return ray.remote(part_class(kind)).options(**options).remote(actor_environment(config, role), kind, *args)

    def learner() -> Target:
        seats = reserved.placement.of("learner")
        what = (config, pairs, fractions, canary)
        actors = [actor(LEARNER_KIND, "learner", reserved.options(seat), *what) for seat in seats]
        return team_of(tuple(actors)) if len(actors) > 1 else OneActor(actors[0])

    def new_engine(seat: Seat) -> Target:
        return OneActor(actor(engine, "engine", reserved.options(seat), config, canary))

    def new_grader(number: int) -> Target:
        return OneActor(actor(GRADER_KIND, "grader", reserved.grader_options(number), runtime, plug_ins))

    try:
        phase("starting learner, engines and graders" if pairs is not None else "starting engines and graders")
        shared = 0 < runtime.engine_gpus < 1
        if pairs is not None and shared:
            # On a shared GPU an engine measures the free memory, so the learner must have taken its share before.
            workers.add_learner(learner)
            workers.wait_for_start()
        for seat in reserved.placement.of("engine"):
            workers.add_engine(partial(new_engine, seat))  # takes longest, and is therefore first
        if pairs is not None and not shared:
            workers.add_learner(learner)
        for i in range(runtime.graders * reserved.nodes):
            workers.add_grader(partial(new_grader, i))
        workers.wait_for_start()
        phase("all are ready")
    except BaseException:
        workers.abandon()
        raise
    return workers
