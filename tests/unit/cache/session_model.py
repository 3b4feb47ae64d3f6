"""The model with sessions: readers that see what they wrote, and never go back in time.

They read pages, and get items: an item shows what a page has shown before, and the other way round.
Sessions wander between replicas with the tokens of their answers. The clocks of replicas and
sessions differ by `CLOCK_SKEW` seconds at most, and records appear in the stream up to
`STREAM_DELAY` seconds after their writes. Some replicas share a cache, others have only their own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from random import Random
from typing import Any, Final

from dynamodb_processor_server.catalog.schema import PathKind
from dynamodb_processor_server.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    PreconditionFailed,
)
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import CacheMode, CachePolicy, CacheStatus, Page
from dynamodb_processor_server.rpc.decode.freshness import RequestedFreshness
from dynamodb_processor_server.rpc.freshness_bounds import with_bounds
from tests.support.leases import MemoryLeases
from tests.unit.cache.fragile_caches import FragileSharedCache
from tests.unit.cache.model import (
    DEVICES,
    STEP,
    Bound,
    Call,
    Setting,
    Step,
)
from tests.unit.cache.session_items import GETS, GetAnswer, is_removed
from tests.unit.cache.session_replicas import (
    CLOCK_SKEW,
    STREAM_DELAY,
    LateStream,
    SessionReplica,
    SessionSetting,
)
from tests.unit.cache.shared_model import SharedModel

#: Kinds of answers and events, of which every long run has many.
SESSION_KINDS: Final = (
    *(status.value for status in CacheStatus),
    "read late enough",
    "the same page",
    "shown by the stream",
    "tokens at once",
    "index behind",
    "reads that hang",
    "not fresh",
    *(f"get {status.value}" for status in CacheStatus if status is not CacheStatus.STALE),
    "get HIT with a bound",
    "absent items",
    "items of records",
    "items replaced",
    "items written",
    "records again",
)
# A read that takes this many seconds hangs: a shared read is given up before.
HANGS: Final = 60.0
# Seconds of the longest read that does not hang, and of what comes before it.
_LONGEST_READ: Final = 5.0
_LONGEST_LOOKUP: Final = 1.0
# Between two events a clock goes on by this much, so that no two are at the same time.
_TICK: Final = 1e-7
# Statuses of pages that were read for this call, or for others at the same time.
_READ_NOW: Final = frozenset({CacheStatus.MISS, CacheStatus.COALESCED, CacheStatus.BYPASSED})


@dataclass(slots=True)
class Session:
    """A reader of one table: its clock, its tokens, and what it has written and been shown.

    `tokens` are those of the answers that no later call was sent with. `shown` and `written` are
    versions by device, `written_at` is the time of the last own write by the session's clock.
    `pages` are the contents of its answers.
    """

    fast: float
    tokens: tuple[str, ...] = ()
    written_at: float | None = None
    written: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    shown: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    pages: set[bytes] = field(default_factory=set)

    def replace_tokens(self, sent: Collection[str], token: str) -> None:
        """Keep the token of an answer in place of those that its call was sent with."""
        self.tokens = (*(other for other in self.tokens if other not in sent), token)


class SessionModel(SharedModel):
    """One schedule with sessions; `shared` is None for replicas that share nothing."""

    clock_skew = CLOCK_SKEW
    replicas: Sequence[SessionReplica]

    def __init__(
        self, setting: SessionSetting, shared: FragileSharedCache | None, random: Random
    ) -> None:
        self._ticks = 0
        self._setting = setting
        self._hung: list[float] = []
        self._leases: MemoryLeases | None = None
        super().__init__(setting, shared, random)
        self._sessions = [Session(fast) for fast in setting.clocks[setting.replicas :]]
        self._stream = LateStream(batch=random.choice((1, 3, 1_000)))
        if setting.follows_stream:
            self._follow()

    def _follow(self) -> None:
        """Let the elected replica, or the only one, consume the stream."""
        base = self._make_plans[0].table
        table = replace(base, schema=replace(base.schema, stream_arn="arn:stream"))
        if self._shared is None:
            self.replicas[0].follow(self._stream, table, None)
            return
        self._leases = MemoryLeases(self._loop.time)
        for replica in self.replicas:
            replica.follow(self._stream, table, self._leases)

    def now(self) -> float:
        """Return the time, which no two events have in common."""
        self._ticks += 1
        return self._loop.time() + self._ticks * _TICK

    def _make_replicas(self, setting: Setting) -> Sequence[SessionReplica]:
        assert isinstance(setting, SessionSetting)
        return [
            SessionReplica(self, number, setting, self._shared, self._random)
            for number in range(setting.replicas)
        ]

    def _call(self, step: Step) -> Coroutine[Any, Any, None] | None:
        return self._get(step) if step.act == "get" else super()._call(step)

    def _act(self, step: Step) -> None:
        leases = self._replica(step).leases
        match step.act:
            case "write":
                super()._act(step)
                self._written(step)
            case "stream_down":
                self._stream.down_until = self._loop.time() + 2 * step.takes
            case "split":
                self._stream.split_open()
            case "trim":
                self._stream.trim_open()
            case "expire":
                self._stream.expire_iterators()
            case "cut_leases":
                if leases is not None:
                    leases.is_cut = not leases.is_cut
            case "end_leases":
                if self._leases is not None:
                    self._leases.end()
            case _:
                super()._act(step)

    def _written(self, step: Step) -> None:
        """Note an own write of a session, and let its record appear."""
        device = DEVICES[step.which % len(DEVICES)]
        version = self._writes[device][-1][1]
        session = self._session(step)
        if step.bound is not Bound.NONE:
            session.written_at = self.now() + session.fast
            session.written[device] = version
        self._stream.write_later(device, version, step.lag * STREAM_DELAY)

    def _replica(self, step: Step) -> SessionReplica:
        return self.replicas[step.replica % len(self.replicas)]

    def _session(self, step: Step) -> Session:
        return self._sessions[step.session % len(self._sessions)]

    def _acknowledge(self, claims: Mapping[str, Any]) -> None:
        """An invalidation holds everywhere only with a shared cache that is not overridden."""
        if self._shared is not None and self._setting.when_unavailable == "bypass":
            super()._acknowledge(claims)

    async def look(
        self, devices: Collection[str], longest_lag: float, deadline: float
    ) -> tuple[float, dict[str, int]]:
        """Read as DynamoDB would, or hang."""
        if STEP.get().takes >= HANGS:
            self._hung.append(self._loop.time())
            self.answers["reads that hang"] += 1
        return await super().look(devices, longest_lag, deadline)

    async def close(self) -> None:
        """End what runs."""
        await super().close()
        self.answers["records again"] += self._stream.given_again

    async def _page(self, step: Step, call: Call, policy: CachePolicy) -> Page | None:
        began = self._loop.time()
        page = await super()._page(step, call, policy)
        ended = self._loop.time()
        longest = 2 * (self._setting.coalescing_timeout + _LONGEST_READ + _LONGEST_LOOKUP)
        if step.takes < HANGS and ended - began > longest:
            # A caller that has waited for a read begins another one, and hangs only if both do.
            hung = [at for at in self._hung if began - SessionReplica.read_timeout < at < ended]
            assert len(hung) > 1, (step, ended - began, hung)
        return page

    def _begin_call(self, step: Step, plan: Plan) -> tuple[Call, dict[str, int]]:
        """Return a call, and the versions by device that its answer must show to its session."""
        session = self._session(step)
        expected = dict.fromkeys(DEVICES, 0)
        for device in DEVICES:
            if step.bound is Bound.NOW:
                expected[device] = self._writes[device][-1][1]
            elif step.bound is Bound.SESSION:
                expected[device] = max(session.shown[device], session.written[device])
        claims = {device: tuple(self._claims[device]) for device in DEVICES}
        return Call(plan, self.now(), claims), expected

    def _bounds(self, step: Step) -> RequestedFreshness:
        """Return the bounds that a call sends: a time by the clock of its session, and tokens."""
        session = self._session(step)
        if step.bound is Bound.NONE:
            return RequestedFreshness(None, ())
        at = self.now() + session.fast if step.bound is Bound.NOW else session.written_at
        return RequestedFreshness(at, session.tokens)

    async def _read(self, step: Step) -> None:
        if step.bound is Bound.NONE:
            await super()._read(step)
            return
        session = self._session(step)
        plan = self._make_plans[step.which % len(self._make_plans)]
        call, expected = self._begin_call(step, plan)
        tokens, bounds = self._replica(step).tokens, self._bounds(step)
        policy, bound = with_bounds(
            tokens, bounds, CachePolicy(step.mode, step.staleness), hides_writes=False
        )
        page = await self._page(step, call, policy)
        if page is None:
            return
        self._judge(step, call, page)
        self._judge_session(session, call, expected, page)
        self._count(session, policy, page)
        content = page.content
        token = tokens.seal(content.read_until, content.digest, hides_writes=False, bound=bound)
        session.replace_tokens(bounds.tokens, token)
        session.pages.add(page.content.items)
        for device, version in json.loads(page.content.items)["seen"].items():
            session.shown[device] = max(session.shown[device], version)

    def _count(self, session: Session, policy: CachePolicy, page: Page) -> None:
        """Count the answers for which a bound, and not only an invalidation, had to be kept."""
        self.answers["tokens at once"] += len(session.tokens) > 1
        digest = page.content.digest
        if page.status is CacheStatus.HIT and policy.not_before is not None:
            if page.content.shows_until >= policy.not_before:
                kind = "read late enough"
            else:
                kind = (
                    "the same page" if digest and digest in policy.seen else "shown by the stream"
                )
            self.answers[kind] += 1

    def _judge_session(
        self, session: Session, call: Call, expected: Mapping[str, int], page: Page
    ) -> None:
        """Compare a page with what its session had been shown and had written before the call."""
        shown = json.loads(page.content.items)
        for device, version in shown["seen"].items():
            if version >= expected[device]:
                continue
            missing = self._writes[device][version + 1][0]
            assert call.plan.path.kind is PathKind.GLOBAL, (device, page, expected, call)
            # DynamoDB promises nothing of an index: it may lag, but no earlier read is an answer.
            assert page.content.items in session.pages or (
                page.status in _READ_NOW and shown["began"] >= missing
            ), (device, page, expected, call)
            self.answers["index behind"] += 1

    async def _get(self, step: Step) -> None:
        """Get items, and judge the answer."""
        get, bounds = GETS[step.which % len(GETS)], self._bounds(step)
        call, expected = self._begin_call(step, self._make_plans[0])
        mode = CacheMode.REFRESH if get.refuses(step.mode) else step.mode
        STEP.set(step)
        try:
            answer = await self._replica(step).items.get(
                get, CachePolicy(mode, step.staleness), bounds, step.leaves_after
            )
        except (BackendUnavailable, DeadlineExceeded, PreconditionFailed):
            return
        self._count_get(step, answer)
        shown = self._judge_get(step, call, expected, answer)
        if step.bound is Bound.NONE:
            return
        session = self._session(step)
        session.replace_tokens(bounds.tokens, answer.token)
        for device, version in shown.items():
            session.shown[device] = max(session.shown[device], version)

    def _count_get(self, step: Step, answer: GetAnswer) -> None:
        self.answers[f"get {answer.status}"] += 1
        if step.bound is not Bound.NONE and answer.status == CacheStatus.HIT:
            self.answers["get HIT with a bound"] += 1
        absent = sum(version is None for version in answer.versions.values())
        self.answers["absent items"] += absent
        self.answers["items of records"] += len(answer.versions) - absent - len(answer.began)

    def _judge_get(
        self, step: Step, call: Call, expected: Mapping[str, int], answer: GetAnswer
    ) -> dict[str, int]:
        """Compare items with what was acknowledged, and shown to their session, before the call.

        Return the versions by device that they show at least. Their reads are never behind, unlike
        those of an index.
        """
        shown: dict[str, int] = {}
        for device, version in answer.versions.items():
            claims, began = call.claims[device], answer.began.get(device, inf)
            least = expected[device]
            for claim in claims:
                assert began >= claim.since, (device, answer, claim, call)
                if claim.since + self._lag_of(step, call.plan) <= call.began:
                    least = max(least, claim.version)
            if step.staleness is not None:
                assert began >= call.began - step.staleness - self.clock_skew, (device, answer)
            removed = [known for _, known in self._writes[device] if is_removed(known)]
            # The removal that an absent item shows is not known: any that is late enough will do.
            versions = removed if version is None else [version]
            shows = [possible for possible in versions if possible >= least]
            assert shows, (device, answer, least, expected, call)
            shown[device] = shows[0]
        return shown
