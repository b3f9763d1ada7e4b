"""Sessions kept by sessman, the session manager of plugin-server.

Copy this file into your project; it needs httpx. ``Sessman`` is for plain code and ``AsyncSessman`` for asyncio; their
methods are the same.

    from sessman import Sessman

    with Sessman("http://127.0.0.1:6123", key=KEY) as sessman:
        session = sessman.new("ann", {"cart": []})
        sessman.change(session.id, lambda data: data["cart"].append("tea"))

The server's page docs/sessman.md describes the calls.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

import httpx

__all__ = [
    "AsyncSessman",
    "Device",
    "Session",
    "SessionNotFound",
    "Sessman",
    "SessmanError",
    "VersionMismatch",
]

Data = dict[str, Any]

# The longest pause before a call is repeated, in seconds.
_LONGEST_PAUSE = 5.0
# How often change() applies a change that others overtake.
_ATTEMPTS = 20


class SessmanError(Exception):
    """A call that failed.

    ``code`` is for programs and listed in docs/errors.md; ``status`` is the HTTP status, or None if there was no
    response, with ``code`` "network_error". ``request_id`` finds the request in the server's log.
    """

    def __init__(self, message: str, code: str, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.request_id = request_id


class SessionNotFound(SessmanError):
    """The session is unknown, expired or ended, or belongs to another user."""


class VersionMismatch(SessmanError):
    """The session is at another version than the call asked for; ``version`` is the current one."""

    version: int = 0


@dataclass(frozen=True)
class Device:
    """A session as ``devices`` returns it: without its id and its data."""

    handle: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    authenticated_at: datetime
    about: Mapping[str, Any] = field(default_factory=dict)
    ip: str | None = None
    user_agent: str | None = None
    current: bool = False


@dataclass(frozen=True)
class Session:
    """A session. ``id`` gives access to it, so it is left out of ``repr`` and belongs in no log; ``handle`` may be logged."""

    id: str = field(repr=False)
    handle: str
    userid: str
    data: Data
    version: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    authenticated_at: datetime


class _Times(TypedDict):
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    authenticated_at: datetime


@dataclass(frozen=True)
class _Call:
    path: str
    session_id: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    # Whether the server may apply the call twice without harm.
    is_safe: bool = False

    def request(self, base_url: str, key: str | None) -> dict[str, Any]:
        headers = {}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if self.session_id is not None:
            headers["X-Session-Id"] = self.session_id
        return {
            "method": "POST",
            "url": f"{base_url}/sessman/{self.path}",
            "params": dict(self.query),
            "headers": headers,
            "json": dict(self.body),
        }


def _new(userid: str, data: Data | None, about: Data | None, ip: str | None, user_agent: str | None) -> _Call:
    query = {"userid": userid, **_given(ip=ip, user_agent=user_agent)}
    return _Call("new", query=query, body={"data": data or {}, **_given(about=about)})


def _write(path: str, session_id: str, data: Data, version: int | None) -> _Call:
    query = {} if version is None else {"version": str(version)}
    return _Call(path, session_id, query, {"data": data})


def _end_all(userid: str, keep: str | None) -> _Call:
    return _Call("end_all", query={"userid": userid, **_given(**{"except": keep})}, is_safe=True)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _session(answer: Mapping[str, Any]) -> Session:
    return Session(
        id=answer["session_id"],
        handle=answer["handle"],
        userid=answer["userid"],
        data=answer["data"],
        version=answer["version"],
        **_times(answer),
    )


def _device(answer: Mapping[str, Any]) -> Device:
    return Device(
        handle=answer["handle"],
        about=answer.get("about", {}),
        ip=answer.get("ip"),
        user_agent=answer.get("user_agent"),
        current=answer.get("current", False),
        **_times(answer),
    )


def _times(answer: Mapping[str, Any]) -> _Times:
    return {
        "created_at": _time(answer["created_at"]),
        "updated_at": _time(answer["updated_at"]),
        "expires_at": _time(answer["expires_at"]),
        "authenticated_at": _time(answer["authenticated_at"]),
    }


def _time(text: str) -> datetime:
    # fromisoformat knows "Z" only from Python 3.11 on.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _pause(call: _Call, response: httpx.Response) -> float | None:
    """Seconds after which to repeat a refused call once, or None where it must not be repeated.

    "overloaded" and "rate_limited" say that nothing was done. After any other 503 a write may have been applied.
    """
    if response.status_code not in (429, 503):
        return None
    if not call.is_safe and _error_of(response).code not in ("overloaded", "rate_limited", "too_many_connections"):
        return None
    try:
        seconds = float(response.headers.get("Retry-After", "1"))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= _LONGEST_PAUSE else None


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.is_success:
        answer = response.json()
        if isinstance(answer, dict):
            return answer
    raise _error_of(response)


def _error_of(response: httpx.Response) -> SessmanError:
    status = response.status_code
    try:
        answer = response.json()
        message, code = answer["error"], answer["code"]
    except (ValueError, KeyError, TypeError):
        return SessmanError(f"The response with status {status} is not sessman's.", "invalid_answer", status)
    kind = {"session_not_found": SessionNotFound, "version_mismatch": VersionMismatch}.get(code, SessmanError)
    error = kind(message, code, status, answer.get("request_id"))
    if isinstance(error, VersionMismatch):
        error.version = answer["version"]
    return error


def _unreachable(error: httpx.HTTPError) -> SessmanError:
    # The text of httpx's error may hold the URL; the kind of the error tells enough.
    return SessmanError(f"sessman did not respond: {type(error).__name__}.", "network_error")


class _Settings:
    def __init__(self, base_url: str, key: str | None) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key

    def _request(self, call: _Call) -> dict[str, Any]:
        return call.request(self._base_url, self._key)


class Sessman(_Settings):
    """Calls sessman. One object serves all threads and reuses its connections.

    ``timeout`` is in seconds, for each call. A call that the server refused before it did anything is repeated once after
    the delay that the server asks for; so is a read during an outage.
    """

    def __init__(self, base_url: str, key: str | None = None, *, timeout: float = 10.0) -> None:
        super().__init__(base_url, key)
        self._http = httpx.Client(timeout=timeout)

    def __enter__(self) -> Sessman:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def new(
        self,
        userid: str,
        data: Data | None = None,
        *,
        about: Data | None = None,
        ip: str | None = None,
        user_agent: str | None = None,
    ) -> Session:
        """Creates a session. ``about`` describes the device; ``devices`` returns it."""
        return _session(self._call(_new(userid, data, about, ip, user_agent)))

    def get(self, session_id: str) -> Session:
        """Reads a session, without changing when it expires."""
        return _session(self._call(_Call("get", session_id, is_safe=True)))

    def update(self, session_id: str, data: Data, *, version: int | None = None) -> Session:
        """Replaces the data. With ``version``, raises VersionMismatch if the session is at another."""
        return _session(self._call(_write("update", session_id, data, version)))

    def patch(self, session_id: str, data: Data, *, version: int | None = None) -> Session:
        """Changes only the named members: a JSON merge patch (RFC 7396), in which None removes a member."""
        return _session(self._call(_write("patch", session_id, data, version)))

    def change(self, session_id: str, apply: Callable[[Data], object]) -> Session:
        """Lets ``apply`` change the data in place, again on fresh data whenever another writer was faster.

        What ``apply`` returns is ignored. VersionMismatch after 20 attempts. After "store_unavailable" the change may or
        may not have been saved.
        """
        for attempt in range(_ATTEMPTS):
            session = self.get(session_id)
            apply(session.data)
            try:
                return self.update(session_id, session.data, version=session.version)
            except VersionMismatch:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_backoff(attempt))
        raise AssertionError("unreachable")

    def touch(self, session_id: str) -> Session:
        """Restarts the idle timeout."""
        return _session(self._call(_Call("touch", session_id, is_safe=True)))

    def renew(self, session_id: str, *, authenticated: bool = False) -> Session:
        """Gives the session a new id; the old one is invalid from then on. ``authenticated``: the user logged in again."""
        query = {"authenticated": "true"} if authenticated else {}
        return _session(self._call(_Call("renew", session_id, query)))

    def end(self, session_id: str) -> bool:
        """Ends a session. False if there was none."""
        return self._ended(_Call("end", session_id))

    def end_device(self, userid: str, handle: str) -> bool:
        """Ends the session of this user with this handle. False if there was none."""
        return self._ended(_Call("end", query={"userid": userid, "handle": handle}))

    def devices(self, userid: str) -> list[Device]:
        """The user's sessions, newest first."""
        answer = self._call(_Call("list", query={"userid": userid}, is_safe=True))
        return [_device(session) for session in answer["sessions"]]

    def end_all(self, userid: str, *, keep: str | None = None) -> int:
        """Ends the user's sessions, except ``keep``, a session id or a handle. Returns how many ended."""
        return int(self._call(_end_all(userid, keep))["ended"])

    def _ended(self, call: _Call) -> bool:
        try:
            return int(self._call(call)["ended"]) > 0
        except SessionNotFound:
            return False

    def _call(self, call: _Call) -> dict[str, Any]:
        try:
            response = self._http.request(**self._request(call))
            pause = _pause(call, response)
            if pause is not None:
                time.sleep(pause)
                response = self._http.request(**self._request(call))
        except httpx.HTTPError as error:
            raise _unreachable(error) from None
        return _answer(response)


class AsyncSessman(_Settings):
    """``Sessman`` for asyncio: the same methods, to be awaited."""

    def __init__(self, base_url: str, key: str | None = None, *, timeout: float = 10.0) -> None:
        super().__init__(base_url, key)
        self._http = httpx.AsyncClient(timeout=timeout)

    async def __aenter__(self) -> AsyncSessman:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def new(
        self,
        userid: str,
        data: Data | None = None,
        *,
        about: Data | None = None,
        ip: str | None = None,
        user_agent: str | None = None,
    ) -> Session:
        return _session(await self._call(_new(userid, data, about, ip, user_agent)))

    async def get(self, session_id: str) -> Session:
        return _session(await self._call(_Call("get", session_id, is_safe=True)))

    async def update(self, session_id: str, data: Data, *, version: int | None = None) -> Session:
        return _session(await self._call(_write("update", session_id, data, version)))

    async def patch(self, session_id: str, data: Data, *, version: int | None = None) -> Session:
        return _session(await self._call(_write("patch", session_id, data, version)))

    async def change(self, session_id: str, apply: Callable[[Data], object | Awaitable[object]]) -> Session:
        """As ``Sessman.change``; ``apply`` may be a coroutine function."""
        for attempt in range(_ATTEMPTS):
            session = await self.get(session_id)
            applied = apply(session.data)
            if inspect.isawaitable(applied):
                await applied
            try:
                return await self.update(session_id, session.data, version=session.version)
            except VersionMismatch:
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(_backoff(attempt))
        raise AssertionError("unreachable")

    async def touch(self, session_id: str) -> Session:
        return _session(await self._call(_Call("touch", session_id, is_safe=True)))

    async def renew(self, session_id: str, *, authenticated: bool = False) -> Session:
        query = {"authenticated": "true"} if authenticated else {}
        return _session(await self._call(_Call("renew", session_id, query)))

    async def end(self, session_id: str) -> bool:
        return await self._ended(_Call("end", session_id))

    async def end_device(self, userid: str, handle: str) -> bool:
        return await self._ended(_Call("end", query={"userid": userid, "handle": handle}))

    async def devices(self, userid: str) -> list[Device]:
        answer = await self._call(_Call("list", query={"userid": userid}, is_safe=True))
        return [_device(session) for session in answer["sessions"]]

    async def end_all(self, userid: str, *, keep: str | None = None) -> int:
        return int((await self._call(_end_all(userid, keep)))["ended"])

    async def _ended(self, call: _Call) -> bool:
        try:
            return int((await self._call(call))["ended"]) > 0
        except SessionNotFound:
            return False

    async def _call(self, call: _Call) -> dict[str, Any]:
        try:
            response = await self._http.request(**self._request(call))
            pause = _pause(call, response)
            if pause is not None:
                await asyncio.sleep(pause)
                response = await self._http.request(**self._request(call))
        except httpx.HTTPError as error:
            raise _unreachable(error) from None
        return _answer(response)


def _backoff(attempt: int) -> float:
    """Seconds: at random, so that two writers do not collide again."""
    return random.uniform(0, min(0.01 * 2**attempt, 0.5))
