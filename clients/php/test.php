<?php

/** Runs against a plugin-server at SESSMAN_URL with the key SESSMAN_KEY: php test.php */

declare(strict_types=1);

require __DIR__ . '/SessmanSessionHandler.php';

ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');

$url = getenv('SESSMAN_URL');
$key = getenv('SESSMAN_KEY');
$handler = SessmanSessionHandler::register($url, $key);
$failed = 0;
// Users of this run.
[$ann, $ben] = ['ann-' . bin2hex(random_bytes(4)), 'ben-' . bin2hex(random_bytes(4))];

function check(string $what, mixed $actual, mixed $expected): void
{
    global $failed;
    if ($actual !== $expected) {
        $failed++;
        // Not echo: PHP changes no session id after output.
        fwrite(STDOUT, "FAILED $what: expected " . var_export($expected, true) . ', got ' . var_export($actual, true) . "\n");
    } else {
        fwrite(STDOUT, "ok $what\n");
    }
}

/** One request of a visitor: the session with this id, or a new one. Returns the id with which the request ended. */
function request(?string $id, callable $work): string
{
    session_id($id ?? '');
    session_start();
    $work();
    $id = session_id();
    session_write_close();
    $_SESSION = [];
    return $id;
}

class Cart
{
    public array $items = ['tea'];
}

$id = request(null, function () {
    $_SESSION['name'] = "Zo\u{eb}";
    $_SESSION['bytes'] = "\xff\x00";
    $_SESSION['cart'] = new Cart();
    $_SESSION['again'] = $_SESSION['cart'];
});
request($id, function () {
    check('text, bytes and objects come back', [$_SESSION['name'], $_SESSION['bytes'], $_SESSION['cart']->items], ["Zo\u{eb}", "\xff\x00", ['tea']]);
    unset($_SESSION['bytes']);
});
request($id, fn () => check('what was unset is gone', array_keys($_SESSION), ['name', 'cart', 'again']));
request($id, fn () => check('a request that changes nothing keeps the session', $_SESSION['name'], "Zo\u{eb}"));

// Two requests at once: this one reads, the other reads and writes, then this one writes.
$other = new SessmanSessionHandler($url, $key);
request($id, function () use ($other, $id) {
    $theirs = unserialize($other->read($id));
    $theirs['theirs'] = 1;
    $other->write($id, serialize($theirs));
    $_SESSION['mine'] = 2;
});
request($id, fn () => check('concurrent requests keep both changes', [$_SESSION['theirs'] ?? null, $_SESSION['mine'] ?? null], [1, 2]));

$old = $id;
$id = request($id, fn () => $handler->login($ann));
check('a login changes the id', $id !== $old, true);
request($id, fn () => check('a login keeps the data', $_SESSION['mine'], 2));
check('the session belongs to the user', count($handler->devices($ann)), 1);
check('the old id is invalid', $handler->validateId($old), false);
check('an id that the server did not create is replaced', request(str_repeat('a', 43), fn () => null) !== str_repeat('a', 43), true);
check('an id with a line break is no session', $handler->validateId("a\r\nX-Evil: 1"), false);

$second = request(null, fn () => $handler->login($ann));
session_id($second);
session_start();
check('all other devices end', $handler->endAll($ann, keepCurrent: true), 1);
check('this one stays', $handler->validateId($second), true);
session_destroy();
check('a logout ends the session', $handler->validateId($second), false);
check('ending twice is no error', $handler->destroy($second), true);

$id = request(null, fn () => $handler->login($ben));
request($id, function () use ($handler, $ben) {
    $_SESSION['late'] = 1;
    $handler->endAll($ben);
});
check('a session that ended during a request stays ended', $handler->validateId($id), false);

try {
    (new SessmanSessionHandler($url, 'wrong'))->create_sid();
    check('a wrong key is refused', 'accepted', 'refused');
} catch (SessmanException $error) {
    check('a wrong key is refused', [$error->status, $error->errorCode], [401, 'wrong_api_key']);
}
try {
    (new SessmanSessionHandler('http://127.0.0.1:1'))->read('x');
    check('a server that is away is told', 'read', 'failed');
} catch (SessmanException $error) {
    check('a server that is away is told', $error->errorCode, 'network_error');
}

exit($failed === 0 ? 0 : 1);
