// Package sessman calls sessman, the session manager of plugin-server, and gives HTTP handlers their visitor's session.
//
//	client := &sessman.Client{BaseURL: "http://127.0.0.1:6123", Key: key}
//	visitors := &sessman.Visitors{Client: client}
//	http.ListenAndServe(":8080", visitors.Middleware(mux))
//
// In a handler:
//
//	session := sessman.FromContext(r.Context()) // nil before a login
//	err := visitors.Login(w, r, "ann", Data{})
package sessman

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// Of a call, where the client has no HTTP client of its own.
	defaultTimeout = 10 * time.Second
	// The longest pause before a call is repeated.
	longestPause = 5 * time.Second
	// Bytes of a response that are read: max_data, doubled by escapes, and what comes with it.
	longestResponse = 64 << 20
	// How often Change applies a change that others overtake.
	attempts = 20
)

var defaultHTTP = &http.Client{Timeout: defaultTimeout}

// Client calls sessman. It may be used by several goroutines at once.
type Client struct {
	// BaseURL is the server's, such as http://127.0.0.1:6123.
	BaseURL string
	// Key is the API key; empty if the server requires none.
	Key string
	// HTTP makes the requests; nil for one with a timeout of 10 s.
	HTTP *http.Client
}

// Session is a session with its data as JSON; Decode reads it into a value of your type.
type Session struct {
	// ID gives access to the session and belongs in no log; Handle may be logged.
	ID              string          `json:"session_id"`
	Handle          string          `json:"handle"`
	UserID          string          `json:"userid"`
	Data            json.RawMessage `json:"data"`
	Version         int64           `json:"version"`
	CreatedAt       time.Time       `json:"created_at"`
	UpdatedAt       time.Time       `json:"updated_at"`
	ExpiresAt       time.Time       `json:"expires_at"`
	AuthenticatedAt time.Time       `json:"authenticated_at"`
}

// Decode reads the data into the value that v points to.
func (s *Session) Decode(v any) error { return json.Unmarshal(s.Data, v) }

// String leaves the id and the data out, so that a session may be printed.
func (s *Session) String() string { return "session " + s.Handle + " of " + s.UserID }

// GoString is String, for %#v.
func (s *Session) GoString() string { return s.String() }

// Device is a session as Devices returns it: without its id and its data.
type Device struct {
	Handle          string          `json:"handle"`
	About           json.RawMessage `json:"about,omitempty"`
	IP              string          `json:"ip,omitempty"`
	UserAgent       string          `json:"user_agent,omitempty"`
	CreatedAt       time.Time       `json:"created_at"`
	UpdatedAt       time.Time       `json:"updated_at"`
	ExpiresAt       time.Time       `json:"expires_at"`
	AuthenticatedAt time.Time       `json:"authenticated_at"`
}

// Error is a call that failed. Code is for programs, and listed in docs/errors.md of plugin-server; RequestID finds the
// request in the server's log. Without a response, Status is 0 and Code is "network_error".
type Error struct {
	Message   string `json:"error"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
	// Version is the current one, of a session that is at another version than the call asked for.
	Version int64 `json:"version"`
	Status  int   `json:"-"`
	cause   error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns what ended the call where there was no response, such as context.Canceled.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is compare codes.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Errors that callers distinguish, for errors.Is.
var (
	// ErrNotFound: the session is unknown, expired or ended, or belongs to another user.
	ErrNotFound error = &Error{Message: "session not found", Code: "session_not_found"}
	// ErrVersionMismatch: the session is at another version than the call asked for.
	ErrVersionMismatch error = &Error{Message: "another version", Code: "version_mismatch"}
)

// About describes the visitor's device, for Devices. IP and UserAgent are stored if the server's setting record lists them.
type About struct {
	About     any
	IP        string
	UserAgent string
}

// New creates a session with this data, a JSON object.
func (c *Client) New(ctx context.Context, userID string, data any, about About) (*Session, error) {
	query := url.Values{"userid": {userID}}
	if about.IP != "" {
		query.Set("ip", about.IP)
	}
	if about.UserAgent != "" {
		query.Set("user_agent", about.UserAgent)
	}
	body := map[string]any{"data": data}
	if data == nil {
		body["data"] = struct{}{}
	}
	if about.About != nil {
		body["about"] = about.About
	}
	return c.session(ctx, call{path: "new", query: query, body: body})
}

// Get reads a session, without changing when it expires.
func (c *Client) Get(ctx context.Context, id string) (*Session, error) {
	return c.session(ctx, call{path: "get", id: id, safe: true})
}

// Update replaces the data. The session must be at this version, unless it is 0.
func (c *Client) Update(ctx context.Context, id string, data any, version int64) (*Session, error) {
	return c.write(ctx, "update", id, data, version)
}

// Patch changes only the named members: a JSON merge patch (RFC 7396), in which null removes a member. The session must
// be at this version, unless it is 0.
func (c *Client) Patch(ctx context.Context, id string, patch any, version int64) (*Session, error) {
	return c.write(ctx, "patch", id, patch, version)
}

// Change reads the data into a new T, lets apply change it, and stores it; again on fresh data whenever another writer was
// faster. An error of apply ends it. Members that T does not have are lost: use Patch to keep them.
func Change[T any](ctx context.Context, c *Client, id string, apply func(data *T) error) (*Session, error) {
	for attempt := 1; ; attempt++ {
		session, err := c.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		var data T
		if err := session.Decode(&data); err != nil {
			return nil, err
		}
		if err := apply(&data); err != nil {
			return nil, err
		}
		changed, err := c.Update(ctx, id, data, session.Version)
		if attempt == attempts || !errors.Is(err, ErrVersionMismatch) {
			return changed, err
		}
		// At random, so that two writers do not collide again.
		if err := sleep(ctx, time.Duration(rand.Int63n(int64(attempt)*int64(10*time.Millisecond)))); err != nil {
			return nil, err
		}
	}
}

// Touch restarts the idle timeout.
func (c *Client) Touch(ctx context.Context, id string) (*Session, error) {
	return c.session(ctx, call{path: "touch", id: id, safe: true})
}

// Renew gives the session a new id; the old one is invalid from then on. Authenticated says that the user has logged in
// again, which restarts both timeouts.
func (c *Client) Renew(ctx context.Context, id string, authenticated bool) (*Session, error) {
	query := url.Values{}
	if authenticated {
		query.Set("authenticated", "true")
	}
	return c.session(ctx, call{path: "renew", id: id, query: query})
}

// End ends a session. It is no error if there was none.
func (c *Client) End(ctx context.Context, id string) error {
	return c.end(ctx, call{path: "end", id: id})
}

// EndDevice ends the session of this user with this handle. It is no error if there was none.
func (c *Client) EndDevice(ctx context.Context, userID, handle string) error {
	return c.end(ctx, call{path: "end", query: url.Values{"userid": {userID}, "handle": {handle}}})
}

// Devices returns the user's sessions, newest first.
func (c *Client) Devices(ctx context.Context, userID string) ([]Device, error) {
	var answer struct {
		Sessions []Device `json:"sessions"`
	}
	err := c.do(ctx, call{path: "list", query: url.Values{"userid": {userID}}, safe: true}, &answer)
	return answer.Sessions, err
}

// EndAll ends the user's sessions, except keep, a session id or a handle, unless it is empty. It returns how many ended.
func (c *Client) EndAll(ctx context.Context, userID, keep string) (int, error) {
	query := url.Values{"userid": {userID}}
	if keep != "" {
		query.Set("except", keep)
	}
	var answer struct {
		Ended int `json:"ended"`
	}
	err := c.do(ctx, call{path: "end_all", query: query, safe: true}, &answer)
	return answer.Ended, err
}

type call struct {
	path  string
	id    string
	query url.Values
	body  any
	// The server may apply it twice without harm.
	safe bool
}

func (c *Client) write(ctx context.Context, path, id string, data any, version int64) (*Session, error) {
	query := url.Values{}
	if version != 0 {
		query.Set("version", strconv.FormatInt(version, 10))
	}
	return c.session(ctx, call{path: path, id: id, query: query, body: map[string]any{"data": data}})
}

func (c *Client) session(ctx context.Context, call call) (*Session, error) {
	var session Session
	if err := c.do(ctx, call, &session); err != nil {
		return nil, err
	}
	return &session, nil
}

func (c *Client) end(ctx context.Context, call call) error {
	err := c.do(ctx, call, &struct{}{})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// do makes the call, once more where the server asks for that.
func (c *Client) do(ctx context.Context, call call, answer any) error {
	body := []byte("{}")
	if call.body != nil {
		var err error
		if body, err = json.Marshal(call.body); err != nil {
			return err
		}
	}
	pause, err := c.try(ctx, call, body, answer)
	var refused *Error
	if pause < 0 || !errors.As(err, &refused) || !refused.mayRepeat(call.safe) {
		return err
	}
	if err := sleep(ctx, pause); err != nil {
		return err
	}
	_, err = c.try(ctx, call, body, answer)
	return err
}

// mayRepeat reports whether a refused call may be made again: these codes say that nothing was done, and after any other
// 503 a write may have been applied.
func (e *Error) mayRepeat(safe bool) bool {
	switch e.Code {
	case "overloaded", "rate_limited", "too_many_connections":
		return true
	}
	return safe && e.Status == http.StatusServiceUnavailable
}

// try makes the call. The pause is the one that Retry-After asks for, or negative.
func (c *Client) try(ctx context.Context, call call, body []byte, answer any) (pause time.Duration, err error) {
	address := strings.TrimRight(c.BaseURL, "/") + "/sessman/" + call.path
	if len(call.query) > 0 {
		address += "?" + call.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.Key != "" {
		request.Header.Set("Authorization", "Bearer "+c.Key)
	}
	if call.id != "" {
		request.Header.Set("X-Session-Id", call.id)
	}
	client := c.HTTP
	if client == nil {
		client = defaultHTTP
	}
	response, err := client.Do(request)
	if err != nil {
		return -1, unreachable(err)
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(http.MaxBytesReader(nil, response.Body, longestResponse))
	if response.StatusCode == http.StatusOK {
		if err := decoder.Decode(answer); err != nil {
			return -1, unreachable(err)
		}
		return -1, nil
	}
	refused := &Error{Status: response.StatusCode}
	if decoder.Decode(refused) != nil || refused.Code == "" {
		message := fmt.Sprintf("the response with status %d is not sessman's", response.StatusCode)
		return -1, &Error{Message: message, Code: "invalid_answer", Status: response.StatusCode}
	}
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	pause = time.Duration(seconds) * time.Second
	if err != nil || pause > longestPause {
		pause = -1
	}
	return pause, refused
}

// unreachable wraps what ended a call. The text of http.Client's error names the URL, which may hold a user.
func unreachable(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return &Error{Message: "sessman did not respond: " + err.Error(), Code: "network_error", cause: err}
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
