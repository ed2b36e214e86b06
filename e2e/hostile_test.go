package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hostile is one way in which a requester makes the node hold memory. Many clients of it
// act at once, each over and over.
type hostile struct {
	holder, requester string
	clients           int
	act               func(ctx context.Context, v *victim)
}

// victim is a node with an app that everything hostile is done to, and what its
// requesters have got of it.
type victim struct {
	*node

	admin, publish, write, read, token string
}

const (
	largeEvent = 250_000
	failing    = 40 // triggers whose script fails
	slowScript = `
import { time, files, kv } from "picloud";
export const slow = async ({ body }) => { await time.sleep(1500); return body.length; };
export const large = () => "x".repeat(1000000);
export const wait = () => time.sleep(5000);
export const fail = () => { throw new Error("no"); };
export const greedy = async () => { const all = []; for (let i = 0; i < 300; i++) all.push(files.read("big")); await Promise.all(all); };
export const loud = () => { for (let i = 0; i < 2000; i++) console.log("x".repeat(1000)); };
export const much = async () => { for (let i = 0; i < 60; i++) await kv.set("much" + i % 8, "x".repeat(200000)); };
`
)

// newVictim prepares the app for everything that hostiles do.
func newVictim(n *node) *victim {
	n.t.Helper()
	v := &victim{node: n, admin: n.key("", "instance:admin"), publish: n.key("default", "app:publish"), write: n.key("default", "app:write", "app:read"), read: n.key("default", "app:read")}
	n.do(200, nil, "PUT", "/v1/apps/default/scripts/s", v.admin, slowScript, "Content-Type", "text/javascript")
	for _, export := range []string{"slow", "large", "greedy", "loud", "much"} {
		n.do(200, nil, "PUT", "/v1/apps/default/endpoints/"+export, v.admin, fmt.Sprintf(`{"script":"s","export":%q,"path":"/%s","method":"*","auth":"public"}`, export, export))
	}
	for i := range failing {
		n.do(200, nil, "PUT", fmt.Sprint("/v1/apps/default/triggers/t", i), v.admin, `{"kind":"pubsub","topic":"doomed","script":"s","export":"fail"}`)
	}
	n.do(200, nil, "PUT", "/v1/apps/default/triggers/slow", v.admin, `{"kind":"pubsub","topic":"slow","script":"s","export":"wait"}`)
	for _, topic := range []string{`"name":"pub","auth_mode":"public"`, `"name":"closed","auth_mode":"token"`} {
		n.do(201, nil, "POST", "/v1/apps/default/topics", v.admin, `{"external":true,`+topic+`}`)
	}
	var token struct{ Token string }
	n.do(201, &token, "POST", "/v1/apps/default/subscriber-tokens", v.admin, `{"topics":["closed"]}`)
	v.token = token.Token
	big := fmt.Sprintf("%q", strings.Repeat("x", largeEvent))
	for range 40 {
		n.do(201, nil, "POST", "/v1/apps/default/topics/pub/events", v.admin, big)
		n.do(201, nil, "POST", "/v1/apps/default/topics/closed/events", v.admin, big)
	}
	n.do(200, nil, "PUT", "/v1/apps/default/kv/big", v.admin, strings.Repeat("x", 1_000_000), "Content-Type", "application/octet-stream")
	if a, err := n.request("PUT", "/v1/apps/default/files/big", v.admin, strings.Repeat("x", 1_000_000), "Content-Type", "text/plain"); err != nil || a.status > 201 {
		n.t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	return v
}

// send opens a connection with a small receive buffer, and sends a request on it.
func (v *victim) send(ctx context.Context, request string) net.Conn {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	conn, err := d.DialContext(ctx, "tcp", v.listen)
	if err != nil {
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(conn, request) // may be refused early
	return conn
}

// hold sends a request, reads nothing of the answer, and stays for a while.
func (v *victim) hold(ctx context.Context, request string) {
	if conn := v.send(ctx, request); conn != nil {
		pause(ctx, time.Duration(1000+rand.IntN(2000))*time.Millisecond)
		_ = conn.Close()
	}
}

// leave sends a request and closes the connection.
func (v *victim) leave(ctx context.Context, request string) {
	if conn := v.send(ctx, request); conn != nil {
		_ = conn.Close()
	}
	pause(ctx, 10*time.Millisecond)
}

// request makes the text of a request.
func (v *victim) text(method, path, key, headers, body string) string {
	if key != "" {
		headers += "Authorization: Bearer " + key + "\r\n"
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", method, path, v.listen, headers, len(body), body)
}

const (
	asText  = "Content-Type: text/plain\r\n"
	asJSON  = "Content-Type: application/json\r\n"
	asSSE   = "Accept: text/event-stream\r\n"
	asBytes = "Content-Type: application/octet-stream\r\n"
)

var megabyte = strings.Repeat("\x01", 1_000_000)

// hostiles are the ways, by what holds the memory and who makes it do so.
var hostiles = []hostile{
	{"runs", "anonymous, leaves", 30, func(ctx context.Context, v *victim) {
		v.leave(ctx, v.text("POST", "/apps/default/slow", "", asText, megabyte))
	}},
	{"runs", "anonymous, stays", 60, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("POST", "/apps/default/slow", "", asText, megabyte))
	}},
	{"answers", "anonymous, history", 80, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("GET", "/v1/apps/default/topics/pub/events?limit=1000&since=all", "", "", ""))
	}},
	{"answers", "anonymous, endpoint", 40, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("GET", "/apps/default/large", "", "", ""))
	}},
	{"answers", "read key, values", 80, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("GET", "/v1/apps/default/kv?limit=1000", v.read, "", ""))
	}},
	{"streams", "anonymous, catches up", 200, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("GET", "/v1/apps/default/topics/pub/events?since=all", "", asSSE, ""))
	}},
	{"streams", "token, catches up", 100, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("GET", "/v1/apps/default/topics/closed/events?since=all", v.token, asSSE, ""))
	}},
	{"streams", "publish key, many topics", 20, func(ctx context.Context, v *victim) {
		topic := fmt.Sprint("ring/", rand.IntN(200))
		path := "/v1/apps/default/topics/" + strings.ReplaceAll(topic, "/", "%2F") + "/events"
		conn := v.send(ctx, v.text("GET", path, v.read, asSSE, ""))
		for range 12 {
			v.leave(ctx, v.text("POST", path, v.publish, asJSON, fmt.Sprintf("%q", strings.Repeat("x", largeEvent))))
		}
		if conn != nil {
			_ = conn.Close()
		}
	}},
	{"bodies", "write key, slow bodies", 60, func(ctx context.Context, v *victim) {
		head := "Authorization: Bearer " + v.write + "\r\n" + asBytes
		v.hold(ctx, fmt.Sprintf("PUT /v1/apps/default/kv/k HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 1000000\r\n\r\n%s", v.listen, head, megabyte[:900_000]))
	}},
	{"bodies", "publish key, chunks", 60, func(ctx context.Context, v *victim) {
		head := "Authorization: Bearer " + v.publish + "\r\n" + asJSON
		v.hold(ctx, fmt.Sprintf("POST /v1/apps/default/events HTTP/1.1\r\nHost: %s\r\n%sTransfer-Encoding: chunked\r\n\r\nf4240\r\n%s", v.listen, head, megabyte))
	}},
	{"replies", "script, reads at once", 6, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("GET", "/apps/default/greedy", "", "", ""))
	}},
	{"runs", "script, writes lines", 6, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("GET", "/apps/default/loud", "", "", ""))
	}},
	{"changes", "script, writes values", 6, func(ctx context.Context, v *victim) {
		v.hold(ctx, v.text("GET", "/apps/default/much", "", "", ""))
	}},
	{"deliveries", "publish key, failing triggers", 4, func(ctx context.Context, v *victim) {
		v.leave(ctx, v.text("POST", "/v1/apps/default/topics/doomed/events", v.publish, asJSON, fmt.Sprintf("%q", strings.Repeat("x", largeEvent))))
	}},
	{"deliveries", "publish key, slow trigger", 4, func(ctx context.Context, v *victim) {
		v.leave(ctx, v.text("POST", "/v1/apps/default/events", v.publish, asJSON, "["+strings.TrimSuffix(strings.Repeat(`{"topic":"slow","data":1},`, 1000), ",")+"]"))
	}},
	{"results", "anonymous, later", 20, func(ctx context.Context, v *victim) {
		v.leave(ctx, v.text("GET", "/apps/default/large", "", "Prefer: respond-async\r\n", ""))
	}},
	{"names", "publish key, topics and keys", 4, func(ctx context.Context, v *victim) {
		names := make([]string, 500)
		for i := range names {
			names[i] = fmt.Sprintf(`{"topic":"n/%d","data":1}`, rand.Int64())
		}
		v.leave(ctx, v.text("POST", "/v1/apps/default/events", v.publish, asJSON+fmt.Sprintf("Idempotency-Key: %d\r\n", rand.Int64()), "["+strings.Join(names, ",")+"]"))
	}},
	{"connections", "anonymous, silent", 300, func(ctx context.Context, v *victim) { v.hold(ctx, "GET / HTT") }},
}
