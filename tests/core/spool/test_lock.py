"""The lock before a spool: a writer that cannot have it is told at once, and one that an interrupt left locked is replaced."""

from __future__ import annotations

import threading

from tests.core.spool.writers import Holder
from xray_core.spool.lock import WriterLock


def test_a_writer_interrupted_by_itself_does_not_wait() -> None:
    lock = WriterLock()
    with lock.held() as held:
        assert held
        assert lock.mine()
        assert not lock.wait(lock.lock)
    assert not lock.mine()


def test_only_the_first_writer_waits_while_another_hangs() -> None:
    lock = WriterLock()
    with Holder(lock):
        assert not lock.wait(lock.lock)
        assert lock.stuck
        assert not lock.wait(lock.lock)


def test_background_work_is_let_off_while_a_writer_hangs_unless_it_is_patient() -> None:
    lock = WriterLock()
    with Holder(lock) as holder:
        with lock.held() as held:
            assert not held
        holder.release()
        with lock.held(patient=True) as held:
            assert held


def test_a_lock_without_an_owner_is_replaced_at_the_second_look() -> None:
    lock = WriterLock()
    lost = lock.lock
    lost.acquire()  # a KeyboardInterrupt came before the owner was written down
    lock.mend()
    assert lock.lock is lost
    lock.mend()
    assert lock.lock is not lost
    with lock.held() as held:
        assert held


def test_a_lock_with_an_owner_is_never_replaced() -> None:
    lock = WriterLock()
    with Holder(lock):
        before = lock.lock
        for _ in range(3):
            lock.mend()
        assert lock.lock is before


def test_a_fork_inside_the_lock_is_not_held_off_and_one_outside_is() -> None:
    lock = WriterLock()
    with lock.held():
        assert not lock.before_fork()
    assert lock.before_fork()
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(lock.lock.acquire(False)))
    thread.start()
    thread.join()
    assert seen == [False]
    lock.after_fork_in_parent()
    with lock.held() as held:
        assert held
