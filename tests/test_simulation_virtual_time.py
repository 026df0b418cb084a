"""asyncio in virtual time, alone and as the glue between the drivers of the real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import SMALL, identical, model_of, noises_of, stream, users_of

from optimized.performer_driver import PerformerDriver
from optimized.thinker_driver import ThinkerDriver
from reference.units import AgentUnit
from simulator.virtual_time import run_virtual
from spec import clock
from spec.exchange_terms import terms_of
from spec.session import SessionConfig

MS = 1_000_000


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=20, unique=True))
@example([6, 5, 7])
def test_sleeping_takes_virtual_time_only(delays: list[int]) -> None:
    """WS-SIMULATION-12: weeks in a moment, to the nanosecond; first due, first woken."""
    woken: list[tuple[int, int]] = []

    async def sleeper(number: int, delay: int) -> None:
        await asyncio.sleep(delay)
        woken.append((int(asyncio.get_running_loop().time()), number))

    async def main() -> None:
        await asyncio.gather(*(sleeper(n, d) for n, d in enumerate(delays)))

    _, end = run_virtual(main())
    assert end == max(delays)
    assert woken == sorted((delay, number) for number, delay in enumerate(delays))


def test_queues_and_timeouts_are_the_librarys() -> None:
    """WS-SIMULATION-12: what waits for another coroutine takes that one's time."""

    async def producer(queue: asyncio.Queue[int]) -> None:
        for n in range(3):
            await asyncio.sleep(10 * MS)
            await queue.put(n)

    async def main() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        task = asyncio.create_task(producer(queue))
        got = [await queue.get() for _ in range(3)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7 * MS):
                await queue.get()
        await task
        return got

    assert run_virtual(main()) == ([0, 1, 2], 37 * MS)


def test_a_cancelled_timer_moves_nothing() -> None:
    """WS-SIMULATION-12: the clock ends at the last thing that happened."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(5 * MS, print).cancel()
        await asyncio.sleep(3 * MS)

    assert run_virtual(main())[1] == 3 * MS


def test_waiting_for_nothing_is_a_deadlock() -> None:
    """WS-SIMULATION-12: said, where a real loop would hang."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="deadlock"):
        run_virtual(main())


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_seconds_are_refused(seconds: float) -> None:
    """WS-SIMULATION-12: a float would be seconds, also a whole one."""

    async def main() -> None:
        await asyncio.sleep(seconds)

    with pytest.raises(TypeError, match="whole nanoseconds"):
        run_virtual(main())


def test_the_real_drivers_run_in_virtual_time() -> None:
    """WS-SIMULATION-12, WS-STREAMING-11: with 5 ms on the link and 100 ms of solving each response
    comes 110 ms after its unit, and its bits are those of one process."""
    config = SessionConfig(preset=SMALL, schedule="overlapped", prompt=(80, 81))
    units = 3
    users, noises = users_of(config, units), noises_of(config, units)
    terms = terms_of(config, "virtual", "float64")
    model = model_of(config.preset)
    outputs: list[tuple[int, AgentUnit]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def link(delay: int, receive: Callable[[bytes], None]) -> Callable[[bytes], None]:
            def send(data: bytes) -> None:
                loop.call_later(delay, deliver, data)

            def deliver(data: bytes) -> None:
                receive(data)
                outputs.extend((int(loop.time()), unit) for unit in thinker.ready)
                thinker.ready.clear()
                if len(outputs) == units and not done.done():
                    done.set_result(None)

            return send

        def to_performer(data: bytes) -> None:
            performer.receive(data)

        thinker = ThinkerDriver(model, config, terms, link(5 * MS, to_performer), None)
        to_thinker = link(105 * MS, thinker.receive)
        performer = PerformerDriver(model, config, terms, 0, to_thinker, None)
        performer.start()
        for k in range(units):
            await asyncio.sleep(clock.unit_available_ns(k) - int(loop.time()))
            thinker.think(users[k], noises[k])
        await done

    run_virtual(main())
    expected, _ = stream(config, users, noises)
    assert len(outputs) == units
    for k, (at_ns, unit) in enumerate(outputs):
        assert at_ns == clock.unit_available_ns(k) + 110 * MS
        assert identical(unit, expected[k])
