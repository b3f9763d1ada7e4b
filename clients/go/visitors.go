package sessman

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// Visitors keeps the session of each visitor in a cookie that page scripts cannot read.
type Visitors struct {
	Client *Client
	// Cookie is the cookie's template; nil for one named "session" that is Secure, HttpOnly, SameSite=Lax and ends with the
	// browser. Browsers send a Secure cookie to http://localhost, too.
	Cookie *http.Cookie
	// OnError responds when sessman cannot be asked; nil for a 503. The error names no session.
	OnError func(w http.ResponseWriter, r *http.Request, err error)
}

type contextKey struct{}

// FromContext returns the session of the request's visitor, or nil if nobody is logged in.
func FromContext(ctx context.Context) *Session {
	session, _ := ctx.Value(contextKey{}).(*Session)
	return session
}

// Middleware reads the visitor's session before each request, for FromContext. A cookie whose session has ended is
// removed. If sessman does not respond, next is not called, so that nobody is taken for a stranger.
func (v *Visitors) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := v.id(r)
		if id == "" {
			next.ServeHTTP(w, r)
			return
		}
		session, err := v.Client.Get(r.Context(), id)
		switch {
		case errors.Is(err, ErrNotFound):
			v.forget(w)
		case err != nil:
			v.fail(w, r, err)
			return
		default:
			r = r.WithContext(context.WithValue(r.Context(), contextKey{}, session))
		}
		next.ServeHTTP(w, r)
	})
}

// Login creates a session for the user, sets the cookie, and ends the session that the visitor had, whose id others may
// know. Call it before the response is written.
func (v *Visitors) Login(w http.ResponseWriter, r *http.Request, userID string, data any) (*Session, error) {
	session, err := v.Client.New(r.Context(), userID, data, About{UserAgent: r.UserAgent()})
	if err != nil {
		return nil, err
	}
	if id := v.id(r); id != "" {
		if err := v.Client.End(r.Context(), id); err != nil {
			return nil, err
		}
	}
	v.set(w, session.ID)
	return session, nil
}

// Logout ends the visitor's session and removes the cookie. Call it before the response is written.
func (v *Visitors) Logout(w http.ResponseWriter, r *http.Request) error {
	if id := v.id(r); id != "" {
		if err := v.Client.End(r.Context(), id); err != nil {
			return err
		}
	}
	v.forget(w)
	return nil
}

func (v *Visitors) cookie() http.Cookie {
	if v.Cookie != nil {
		return *v.Cookie
	}
	return http.Cookie{Name: "session", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func (v *Visitors) id(r *http.Request) string {
	cookie, err := r.Cookie(v.cookie().Name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (v *Visitors) set(w http.ResponseWriter, id string) {
	cookie := v.cookie()
	cookie.Value = id
	http.SetCookie(w, &cookie)
}

func (v *Visitors) forget(w http.ResponseWriter) {
	cookie := v.cookie()
	cookie.MaxAge = -1
	http.SetCookie(w, &cookie)
}

func (v *Visitors) fail(w http.ResponseWriter, r *http.Request, err error) {
	if v.OnError != nil {
		v.OnError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	json.NewEncoder(w).Encode(map[string]string{"error": "Sessions cannot be read at the moment.", "code": "sessions_unavailable"})
}
