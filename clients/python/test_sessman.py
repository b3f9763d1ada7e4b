"""Runs against a plugin-server at SESSMAN_URL with the key SESSMAN_KEY."""

import asyncio
import http.server
import os
import secrets
import threading
import unittest

from sessman import AsyncSessman, SessionNotFound, Sessman, SessmanError, VersionMismatch

URL = os.environ["SESSMAN_URL"]
KEY = os.environ["SESSMAN_KEY"]
# Users of this run.
ANN, BEN, CAT, DAN, EVE, FAY = (f"{name}-{secrets.token_hex(4)}" for name in ("ann", "ben", "cat", "dan", "eve", "fay"))


class Refusing(http.server.BaseHTTPRequestHandler):
    """A server that refuses its first request, and answers the second."""

    code = "overloaded"
    requests = 0

    def do_POST(self) -> None:
        type(self).requests += 1
        if self.requests == 1:
            self.reply(503, f'{{"error": "Busy.", "code": "{self.code}", "request_id": "r-1"}}')
        else:
            self.reply(200, '{"ended": 1}')

    def reply(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


def refusing(code: str) -> http.server.HTTPServer:
    handler = type("Handler", (Refusing,), {"code": code, "requests": 0})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


class PlainTest(unittest.TestCase):
    sessman: Sessman

    @classmethod
    def setUpClass(cls) -> None:
        cls.sessman = Sessman(URL, KEY)
        cls.addClassCleanup(cls.sessman.close)

    def test_a_session_lives_changes_and_ends(self) -> None:
        session = self.sessman.new(ANN, {"cart": ["tea"]}, about={"device": "phone"})
        self.assertEqual(session.userid, ANN)
        self.assertLess(session.created_at, session.expires_at)
        self.assertNotIn(session.id, repr(session))
        self.assertEqual(self.sessman.patch(session.id, {"theme": "dark"}).data, {"cart": ["tea"], "theme": "dark"})
        self.assertEqual(self.sessman.update(session.id, {"cart": []}).version, 3)
        self.assertEqual(self.sessman.touch(session.id).version, 3)
        renewed = self.sessman.renew(session.id, authenticated=True)
        self.assertEqual(renewed.handle, session.handle)
        with self.assertRaises(SessionNotFound):
            self.sessman.get(session.id)
        self.assertEqual([device.about["device"] for device in self.sessman.devices(ANN)], ["phone"])
        self.assertTrue(self.sessman.end(renewed.id))
        self.assertFalse(self.sessman.end(renewed.id))

    def test_a_stale_version_is_refused_with_the_current_one(self) -> None:
        session = self.sessman.new(BEN)
        self.sessman.update(session.id, {"n": 1})
        with self.assertRaises(VersionMismatch) as caught:
            self.sessman.update(session.id, {"n": 2}, version=1)
        self.assertEqual(caught.exception.version, 2)
        self.assertTrue(caught.exception.request_id)

    def test_concurrent_changes_are_all_kept(self) -> None:
        session = self.sessman.new(CAT, {"n": 0})

        def count(data: dict) -> None:
            data["n"] += 1

        threads = [threading.Thread(target=self.sessman.change, args=(session.id, count)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.sessman.get(session.id).data, {"n": 8})

    def test_devices_end_one_by_one_and_together(self) -> None:
        first, second, third = (self.sessman.new(DAN) for _ in range(3))
        self.assertTrue(self.sessman.end_device(DAN, third.handle))
        self.assertFalse(self.sessman.end_device(DAN, third.handle))
        self.assertEqual(self.sessman.end_all(DAN, keep=second.id), 1)
        with self.assertRaises(SessionNotFound):
            self.sessman.get(first.id)
        self.assertEqual(self.sessman.get(second.id).userid, DAN)

    def test_a_wrong_key_and_a_server_that_is_away_are_told_apart(self) -> None:
        with Sessman(URL, "wrong") as stranger, self.assertRaises(SessmanError) as caught:
            stranger.new(EVE)
        self.assertEqual((caught.exception.status, caught.exception.code), (401, "wrong_api_key"))
        with Sessman("http://127.0.0.1:1") as nobody, self.assertRaises(SessmanError) as caught:
            nobody.get("secret-id")
        self.assertEqual(caught.exception.code, "network_error")
        self.assertNotIn("secret-id", str(caught.exception))

    def test_only_what_was_not_applied_is_repeated(self) -> None:
        for code, calls in (("overloaded", 2), ("store_unavailable", 1)):
            server = refusing(code)
            self.addCleanup(server.server_close)
            with Sessman(f"http://127.0.0.1:{server.server_port}") as sessman:
                if calls == 2:
                    self.assertTrue(sessman.end("id"))
                else:
                    with self.assertRaises(SessmanError):
                        sessman.end("id")
            server.shutdown()
            self.assertEqual(server.RequestHandlerClass.requests, calls)


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    async def test_the_same_methods_are_awaited(self) -> None:
        async with AsyncSessman(URL, KEY) as sessman:
            session = await sessman.new(FAY, {"n": 0})

            async def count(data: dict) -> None:
                data["n"] += 1

            await asyncio.gather(*(sessman.change(session.id, count) for _ in range(8)))
            self.assertEqual((await sessman.get(session.id)).data, {"n": 8})
            self.assertEqual((await sessman.patch(session.id, {"n": None}, version=9)).data, {})
            self.assertEqual(len(await sessman.devices(FAY)), 1)
            renewed = await sessman.renew(session.id)
            self.assertEqual((await sessman.touch(renewed.id)).handle, session.handle)
            self.assertEqual(await sessman.end_all(FAY), 1)
            self.assertFalse(await sessman.end(renewed.id))
            self.assertFalse(await sessman.end_device(FAY, session.handle))
            with self.assertRaises(SessionNotFound):
                await sessman.update(renewed.id, {})


if __name__ == "__main__":
    unittest.main()
