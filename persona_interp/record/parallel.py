"""How are many calls made that wait for somebody else?"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

K = TypeVar("K")
T = TypeVar("T")


def call_all(
    call: Callable[..., T], arguments: Mapping[K, tuple[Any, ...]], *, workers: int
) -> Iterator[tuple[K, T]]:
    """Yield what each call gives, as it comes.

    Args:
        call: What is called.
        arguments: Of each call, by key.
        workers: Calls at once; 1: one after the other, in this thread.

    Yields:
        Key and result. Where a call fails, what is under way is still yielded, since it may be paid
        for, and nothing new is begun.

    Raises:
        Exception: That of the first call that failed, at the end.

    >>> dict(call_all(pow, {"a": (2, 3), "b": (3, 2)}, workers=2)) == {"a": 8, "b": 9}
    True
    """
    if workers == 1:
        for key, args in arguments.items():
            yield key, call(*args)
        return
    failure: BaseException | None = None
    with ThreadPoolExecutor(workers) as pool:
        futures: dict[Future[T], K] = {pool.submit(call, *a): key for key, a in arguments.items()}
        try:
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    yield futures[future], future.result()
                else:
                    failure = failure or error
                    _cancel(futures)
        finally:
            _cancel(futures)
    if failure is not None:
        raise failure


def _cancel(futures: Mapping[Future[Any], Any]) -> None:
    for future in futures:
        future.cancel()
