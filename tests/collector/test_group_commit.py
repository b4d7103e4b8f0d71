"""Group commit on its own: what is put together, what is told to wait, what fails."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dccl_tf.collector.group_commit import Busy, GroupCommit


class Store:
    """Doubles numbers; notes its groups, and holds the first until it is let go."""

    def __init__(self):
        self.groups, self.go = [], threading.Event()

    def __call__(self, items):
        self.groups.append(list(items))
        self.go.wait(10)
        if "bad" in items:
            raise OSError("the disk is full")
        if "wrong" in items:
            raise ValueError("not a number")
        return [2 * item for item in items]


@pytest.fixture
def store():
    return Store()


async def first_then(store, commit, *others):
    """Submits [0], and the others while that is under way; all answers."""
    first = asyncio.create_task(commit.submit([0]))
    while not store.groups:
        await asyncio.sleep(0.001)
    rest = [asyncio.create_task(commit.submit(one)) for one in others]
    await asyncio.sleep(0)
    store.go.set()
    return await asyncio.gather(first, *rest, return_exceptions=True)


def run(store, *others, **options):
    with ThreadPoolExecutor(1) as writer:
        commit = GroupCommit(store, writer, **options)

        async def submit():
            answers = await first_then(store, commit, *others)
            return answers, commit.waiting

        return asyncio.run(submit())


def test_what_arrives_during_a_commit_is_the_next_one(store):
    answers, waiting = run(store, [1], [2, 3], [4])
    assert store.groups == [[0], [1, 2, 3, 4]]
    assert answers == [[0], [2], [4, 6], [8]]
    assert waiting == 0


def test_a_group_is_as_large_as_allowed_and_splits_no_request(store):
    run(store, [1, 2], [3, 4], [5, 6, 7, 8], [9], group=4)
    assert store.groups == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_too_many_are_told_to_come_back_and_nothing_of_them_is_done(store):
    answers, _ = run(store, [1, 2], [3, 4], waiting=3)
    assert store.groups == [[0], [1, 2]]
    assert isinstance(answers[2], Busy)
    assert answers[2].retry_after >= 1


def test_a_failure_reaches_all_of_its_group_and_no_other(store):
    answers, waiting = run(store, [1, 2], ["bad"], [3], group=2)
    assert [type(answer) for answer in answers] == [list, list, OSError, OSError]
    assert waiting == 0


def test_a_wrong_item_harms_nobody_else_of_its_group(store):
    answers, waiting = run(store, [1, 2], ["wrong", 3], [4])
    assert store.groups == [[0], [1, 2, "wrong", 3, 4], [1, 2], ["wrong", 3], [4]]
    assert [type(answer) for answer in answers] == [list, list, ValueError, list]
    assert (answers[1], answers[3]) == ([2, 4], [8])
    assert waiting == 0


def test_whoever_went_away_disturbs_nobody(store):
    with ThreadPoolExecutor(1) as writer:
        commit = GroupCommit(store, writer)

        async def submit():
            gone = asyncio.create_task(commit.submit([1]))
            stays = asyncio.create_task(commit.submit([2]))
            await asyncio.sleep(0.01)
            gone.cancel()
            store.go.set()
            return await stays, commit.waiting

        assert asyncio.run(submit()) == ([4], 0)


def test_nothing_is_nothing(store):
    with ThreadPoolExecutor(1) as writer:
        assert asyncio.run(GroupCommit(store, writer).submit([])) == []
    assert store.groups == []
