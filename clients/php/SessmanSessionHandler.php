<?php

declare(strict_types=1);

/** A call of sessman that failed. The error codes are listed in docs/errors.md of plugin-server. */
final class SessmanException extends RuntimeException
{
    public function __construct(
        string $message,
        /** For programs; "network_error" if there was no response. */
        public readonly string $errorCode,
        /** The HTTP status, or 0 if there was no response. */
        public readonly int $status = 0,
        /** Finds the request in the server's log. */
        public readonly ?string $requestId = null,
    ) {
        parent::__construct($message);
    }
}

/**
 * PHP sessions kept by sessman, the session manager of plugin-server.
 *
 *     $handler = SessmanSessionHandler::register('http://127.0.0.1:6123', $key);
 *     session_start();
 *     $handler->login('ann');   // a new id, and a session that belongs to ann
 *
 * PHP's own handlers lock a session for the length of a request. This one does not: at the end of a request it sends
 * only the members of $_SESSION that the request changed, and the server applies them in one step. Requests that change
 * different members do not overwrite each other; if two change the same member, the later one wins. Each member is
 * stored by itself, so that an object in two members becomes two objects.
 */
final class SessmanSessionHandler implements
    SessionHandlerInterface,
    SessionIdInterface,
    SessionUpdateTimestampHandlerInterface
{
    /** Where $_SESSION lies in the session's data. */
    private const MEMBER = 'php';
    /** The longest pause before a call is repeated, in seconds. */
    private const LONGEST_PAUSE = 5;

    /** The members as they were read, serialized, by name. */
    private array $stored = [];
    /** The session that PHP has checked and is about to read. */
    private ?array $checked = null;
    /** The id that was created last, until it is read. */
    private ?string $created = null;
    /** The user to whom a new session belongs. */
    private string $userid;

    /**
     * @param string $anonymous the userid of sessions before a login
     * @param float $timeout in seconds, for each call
     */
    public function __construct(
        private readonly string $baseUrl,
        #[SensitiveParameter] private readonly ?string $key = null,
        private readonly string $anonymous = 'anonymous',
        private readonly float $timeout = 10.0,
    ) {
        $this->userid = $anonymous;
    }

    /** Makes PHP keep its sessions in sessman. Call it before session_start(). */
    public static function register(
        string $baseUrl,
        #[SensitiveParameter] ?string $key = null,
        string $anonymous = 'anonymous',
        float $timeout = 10.0,
    ): self {
        // A session has members, which this format keeps apart.
        ini_set('session.serialize_handler', 'php_serialize');
        // Refuses an id that the server has not created.
        ini_set('session.use_strict_mode', '1');
        ini_set('session.cookie_httponly', '1');
        $handler = new self($baseUrl, $key, $anonymous, $timeout);
        session_set_save_handler($handler, true);
        return $handler;
    }

    /**
     * Logs the visitor in: the session gets a new id and belongs to the user, and the old one ends. $_SESSION is kept.
     * Call it while the session is open.
     */
    public function login(string $userid): void
    {
        $this->userid = $userid;
        try {
            session_regenerate_id(true);
        } finally {
            $this->userid = $this->anonymous;
        }
    }

    /** Ends all sessions of the user, except the current one if $keepCurrent. Returns how many ended. */
    public function endAll(string $userid, bool $keepCurrent = false): int
    {
        $except = $keepCurrent ? ['except' => substr((string) session_id(), 0, 16)] : [];
        return $this->call('end_all', null, ['userid' => $userid] + $except, isSafe: true)['ended'];
    }

    /** The user's sessions, newest first: "handle", times, "about". Never ids or data. */
    public function devices(string $userid): array
    {
        return $this->call('list', null, ['userid' => $userid], isSafe: true)['sessions'];
    }

    public function open(string $path, string $name): bool
    {
        return true;
    }

    public function close(): bool
    {
        $this->stored = [];
        $this->checked = null;
        return true;
    }

    public function create_sid(): string
    {
        $this->created = $this->call('new', null, ['userid' => $this->userid])['session_id'];
        return $this->created;
    }

    public function validateId(string $id): bool
    {
        // PHP asks whether the id that it has just created collides with an existing session.
        if ($id === $this->created) {
            return false;
        }
        $this->checked = $this->find($id);
        return $this->checked !== null;
    }

    public function read(string $id): string
    {
        $session = $this->checked !== null && $this->checked['session_id'] === $id ? $this->checked : $this->find($id);
        $this->checked = null;
        $this->created = null;
        $this->stored = [];
        foreach ($session['data'][self::MEMBER] ?? [] as $name => $text) {
            $this->stored[$name] = self::bytesOf($text);
        }
        return serialize(array_map(unserialize(...), $this->stored));
    }

    public function write(string $id, string $data): bool
    {
        $members = array_map(serialize(...), unserialize($data));
        $changes = array_map(fn () => null, array_diff_key($this->stored, $members));
        foreach ($members as $name => $bytes) {
            if (($this->stored[$name] ?? null) !== $bytes) {
                $changes[$name] = self::textOf($bytes);
            }
        }
        $this->callUnlessEnded('patch', $id, ['data' => [self::MEMBER => (object) $changes]]);
        $this->stored = $members;
        return true;
    }

    public function updateTimestamp(string $id, string $data): bool
    {
        $this->callUnlessEnded('touch', $id, isSafe: true);
        return true;
    }

    public function destroy(string $id): bool
    {
        $this->callUnlessEnded('end', $id);
        return true;
    }

    /** The server removes what has expired. */
    public function gc(int $max_lifetime): int
    {
        return 0;
    }

    private function find(string $id): ?array
    {
        return $this->callUnlessEnded('get', $id, isSafe: true);
    }

    /** Null if there is no such session, for example because the user has logged out elsewhere. */
    private function callUnlessEnded(string $path, string $id, array $body = [], bool $isSafe = false): ?array
    {
        try {
            return $this->call($path, $id, [], $body, $isSafe);
        } catch (SessmanException $error) {
            if ($error->errorCode === 'session_not_found') {
                return null;
            }
            throw $error;
        }
    }

    /** JSON holds text, and what PHP serializes may be any bytes: those that are not UTF-8 are stored in base64. */
    private static function textOf(string $bytes): string
    {
        return preg_match('//u', $bytes) === 1 ? "text:$bytes" : 'base64:' . base64_encode($bytes);
    }

    private static function bytesOf(string $text): string
    {
        [$encoding, $rest] = explode(':', $text, 2);
        return $encoding === 'base64' ? base64_decode($rest) : $rest;
    }

    /**
     * @param bool $isSafe whether the server may apply the call twice without harm
     */
    private function call(string $path, ?string $id, array $query = [], array $body = [], bool $isSafe = false): array
    {
        [$status, $headers, $text] = $this->send($path, $id, $query, $body);
        if ($status === 429 || $status === 503) {
            $pause = self::pause($headers, $text, $isSafe);
            if ($pause !== null) {
                sleep($pause);
                [$status, , $text] = $this->send($path, $id, $query, $body);
            }
        }
        $answer = json_decode($text, true);
        if (!is_array($answer)) {
            throw new SessmanException("The response with status $status is not sessman's.", 'invalid_answer', $status);
        }
        if ($status !== 200) {
            $code = $answer['code'] ?? 'invalid_answer';
            throw new SessmanException($answer['error'] ?? "Status $status.", $code, $status, $answer['request_id'] ?? null);
        }
        return $answer;
    }

    /** @return array{int, string[], string} the status, the headers and the body of the response */
    private function send(string $path, ?string $id, array $query, array $body): array
    {
        $headers = ['Content-Type: application/json', 'Connection: close'];
        if ($this->key !== null) {
            $headers[] = "Authorization: Bearer {$this->key}";
        }
        if ($id !== null) {
            if (preg_match('/^[\x21-\x7e]+$/', $id) !== 1) {
                throw new SessmanException('Session not found: its id is malformed.', 'session_not_found', 404);
            }
            $headers[] = "X-Session-Id: $id";
        }
        $context = stream_context_create(['http' => [
            'method' => 'POST',
            'header' => $headers,
            'content' => json_encode((object) $body, JSON_THROW_ON_ERROR),
            'timeout' => $this->timeout,
            'ignore_errors' => true,
            'follow_location' => 0,
        ]]);
        $url = rtrim($this->baseUrl, '/') . "/sessman/$path?" . http_build_query($query, '', '&', PHP_QUERY_RFC3986);
        $text = @file_get_contents($url, false, $context);
        if ($text === false) {
            throw new SessmanException('sessman did not respond.', 'network_error');
        }
        // The variable is set by file_get_contents().
        return [(int) substr($http_response_header[0], 9, 3), $http_response_header, $text];
    }

    /**
     * Seconds after which to repeat a refused call once, or null where it must not be repeated: "overloaded" and
     * "rate_limited" say that nothing was done; after any other 503 a write may have been applied.
     */
    private static function pause(array $headers, string $text, bool $isSafe): ?int
    {
        $code = json_decode($text, true)['code'] ?? '';
        if (!$isSafe && !in_array($code, ['overloaded', 'rate_limited', 'too_many_connections'], true)) {
            return null;
        }
        foreach ($headers as $header) {
            if (preg_match('/^Retry-After: *(\d+)$/i', $header, $match) === 1) {
                return (int) $match[1] <= self::LONGEST_PAUSE ? (int) $match[1] : null;
            }
        }
        return null;
    }
}
