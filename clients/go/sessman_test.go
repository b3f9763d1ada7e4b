package sessman

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests run against a plugin-server at SESSMAN_URL with the key SESSMAN_KEY.
var client = &Client{BaseURL: os.Getenv("SESSMAN_URL"), Key: os.Getenv("SESSMAN_KEY")}

type counter struct {
	N int `json:"n"`
}

// userID returns a user of this run.
func userID(t *testing.T) string {
	return fmt.Sprintf("%s-%d", t.Name(), rand.New(rand.NewSource(time.Now().UnixNano())).Int63())
}

func must[T any](t *testing.T) func(value T, err error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestASessionLivesChangesAndEnds(t *testing.T) {
	ctx, user, session := context.Background(), userID(t), must[*Session](t)
	made := session(client.New(ctx, user, counter{1}, About{About: map[string]string{"device": "phone"}}))
	if made.UserID != user || !made.CreatedAt.Before(made.ExpiresAt) {
		t.Errorf("got %v from %v to %v", made, made.CreatedAt, made.ExpiresAt)
	}
	if printed := fmt.Sprintf("%v %+v %#v", made, made, made); strings.Contains(printed, made.ID) {
		t.Error("a printed session shows its id")
	}
	patched := session(client.Patch(ctx, made.ID, map[string]any{"theme": "dark"}, 1))
	if string(patched.Data) != `{"n":1,"theme":"dark"}` {
		t.Errorf("got %s", patched.Data)
	}
	session(client.Update(ctx, made.ID, counter{2}, 0))
	session(client.Touch(ctx, made.ID))
	renewed := session(client.Renew(ctx, made.ID, true))
	if renewed.Handle != made.Handle {
		t.Error("renew changed the handle")
	}
	if _, err := client.Get(ctx, made.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old id gave %v", err)
	}
	devices := must[[]Device](t)(client.Devices(ctx, user))
	if len(devices) != 1 || string(devices[0].About) != `{"device":"phone"}` {
		t.Errorf("got %v", devices)
	}
	for range [2]int{} {
		if err := client.End(ctx, renewed.ID); err != nil {
			t.Error(err)
		}
	}
}

func TestAStaleVersionIsRefusedWithTheCurrentOne(t *testing.T) {
	ctx, session := context.Background(), must[*Session](t)
	made := session(client.New(ctx, userID(t), nil, About{}))
	session(client.Update(ctx, made.ID, counter{1}, made.Version))
	_, err := client.Update(ctx, made.ID, counter{2}, made.Version)
	var refused *Error
	if !errors.As(err, &refused) || !errors.Is(err, ErrVersionMismatch) || refused.Version != 2 {
		t.Errorf("got %v", err)
	}
}

func TestConcurrentChangesAreAllKept(t *testing.T) {
	ctx, session := context.Background(), must[*Session](t)
	made := session(client.New(ctx, userID(t), counter{}, About{}))
	var all sync.WaitGroup
	for range [8]int{} {
		all.Add(1)
		go func() {
			defer all.Done()
			_, err := Change(ctx, client, made.ID, func(data *counter) error {
				data.N++
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	var data counter
	if err := session(client.Get(ctx, made.ID)).Decode(&data); err != nil || data.N != 8 {
		t.Errorf("got %v, %v", data, err)
	}
}

func TestDevicesEndOneByOneAndTogether(t *testing.T) {
	ctx, user, session := context.Background(), userID(t), must[*Session](t)
	var made []*Session
	for range [3]int{} {
		made = append(made, session(client.New(ctx, user, nil, About{})))
	}
	if err := client.EndDevice(ctx, user, made[2].Handle); err != nil {
		t.Error(err)
	}
	if ended := must[int](t)(client.EndAll(ctx, user, made[1].ID)); ended != 1 {
		t.Errorf("%d ended", ended)
	}
	session(client.Get(ctx, made[1].ID))
}

func TestAWrongKeyAndAServerThatIsAwayAreToldApart(t *testing.T) {
	ctx := context.Background()
	var refused *Error
	if _, err := (&Client{BaseURL: client.BaseURL, Key: "wrong"}).New(ctx, "eve", nil, About{}); !errors.As(err, &refused) ||
		refused.Status != http.StatusUnauthorized || refused.Code != "wrong_api_key" {
		t.Errorf("got %v", err)
	}
	if _, err := (&Client{BaseURL: "http://127.0.0.1:1"}).Devices(ctx, "secret-user"); !errors.As(err, &refused) ||
		refused.Code != "network_error" || strings.Contains(err.Error(), "secret-user") {
		t.Errorf("got %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := client.Get(cancelled, "id"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyWhatWasNotAppliedIsRepeated(t *testing.T) {
	for code, wanted := range map[string]int{"overloaded": 2, "store_unavailable": 1} {
		calls := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if calls++; calls == 1 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintf(w, `{"error": "Busy.", "code": %q, "request_id": "r-1"}`, code)
				return
			}
			io.WriteString(w, `{"ended": 1}`)
		}))
		err := (&Client{BaseURL: server.URL}).End(context.Background(), "id")
		server.Close()
		if calls != wanted || (err == nil) != (wanted == 2) {
			t.Errorf("%s: %d calls, %v", code, calls, err)
		}
	}
}

func TestAVisitorLogsInAndOut(t *testing.T) {
	user := userID(t)
	visitors := &Visitors{Client: client, Cookie: &http.Cookie{Name: "session", Path: "/", HttpOnly: true}}
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := visitors.Login(w, r, user, counter{}); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		if err := visitors.Logout(w, r); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if session := FromContext(r.Context()); session != nil {
			io.WriteString(w, session.UserID)
		}
	})
	server := httptest.NewServer(visitors.Middleware(mux))
	defer server.Close()
	jar := must[*cookiejar.Jar](t)(cookiejar.New(nil))
	browser := &http.Client{Jar: jar}
	visit := func(path string) (int, string) {
		response := must[*http.Response](t)(browser.Get(server.URL + path))
		defer response.Body.Close()
		return response.StatusCode, string(must[[]byte](t)(io.ReadAll(response.Body)))
	}
	name := func() string { _, body := visit("/"); return body }

	if got := name(); got != "" {
		t.Errorf("a stranger is %q", got)
	}
	visit("/login")
	visit("/login")
	if got := name(); got != user {
		t.Errorf("got %q", got)
	}
	if devices := must[[]Device](t)(client.Devices(context.Background(), user)); len(devices) != 1 {
		t.Errorf("a second login leaves %d sessions", len(devices))
	}
	must[int](t)(client.EndAll(context.Background(), user, ""))
	if got := name(); got != "" {
		t.Errorf("after the end elsewhere: %q", got)
	}
	visit("/login")
	visit("/logout")
	if got := name(); got != "" {
		t.Errorf("after a logout: %q", got)
	}
	visit("/login")
	visitors.Client = &Client{BaseURL: "http://127.0.0.1:1"}
	if status, _ := visit("/"); status != http.StatusServiceUnavailable {
		t.Errorf("without sessman: %d", status)
	}
	visitors.Client = client
}
