// A client on Go's net/http, whose errors and whose choice of what to send again are those of the
// platform in front of a function. Only the standard library.
//
//	client -port N -mode reuse|idle-post|concurrent|cancel …
//
// Says what it saw as lines of JSON.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var (
	port     = flag.Int("port", 0, "of the sidecar or of the worker itself")
	mode     = flag.String("mode", "reuse", "reuse, idle-post, concurrent or cancel")
	count    = flag.Int("n", 100, "requests")
	atOnce   = flag.Int("c", 1, "connections that are used at the same time")
	path     = flag.String("path", "/", "what is asked for")
	warm     = flag.String("warm", "/slow?ms=300", "idle-post: what opens the connections, all at once")
	method   = flag.String("method", "POST", "idle-post: the method")
	key      = flag.Bool("idempotency-key", false, "idle-post: promise that a request may be sent again")
	after    = flag.String("after", "sent", "cancel: after the request was `sent` or after the `first-byte`")
	prefix   = flag.String("id", "go", "what request ids begin with")
	client   *http.Client
	dials    int64
	written  int64
	failures = map[string]int{}
	statuses = map[int]int{}
	lock     sync.Mutex
)

// What all modes say.
type seen struct {
	Event    string         `json:"event"`
	Statuses map[int]int    `json:"statuses"`
	Failures map[string]int `json:"failures"`
	Dials    int64          `json:"dials"`
	Written  int64          `json:"written"`
	Millis   int64          `json:"ms"`
}

func say(event string, began time.Time) {
	lock.Lock()
	defer lock.Unlock()
	line, err := json.Marshal(seen{event, statuses, failures, atomic.LoadInt64(&dials), atomic.LoadInt64(&written), time.Since(began).Milliseconds()})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func forget() {
	lock.Lock()
	defer lock.Unlock()
	failures, statuses = map[string]int{}, map[int]int{}
}

func request(ctx context.Context, method, path, id string, wrote func()) (*http.Response, error) {
	trace := &httptrace.ClientTrace{
		ConnectStart: func(_, _ string) { atomic.AddInt64(&dials, 1) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			atomic.AddInt64(&written, 1)
			wrote()
		},
	}
	var body io.Reader
	if method == "POST" {
		body = bytes.NewReader([]byte("body of " + id))
	}
	url := fmt.Sprintf("http://127.0.0.1:%d%s", *port, path)
	made, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, url, body)
	if err != nil {
		panic(err)
	}
	made.Header.Set("X-Fc-Request-Id", id)
	if *key {
		made.Header.Set("Idempotency-Key", id)
	}
	return client.Do(made)
}

// Asks, reads the whole answer, and keeps account.
func ask(method, path, id string, wrote func()) {
	response, err := request(context.Background(), method, path, id, wrote)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	lock.Lock()
	defer lock.Unlock()
	if err != nil {
		failures[err.Error()]++
	} else {
		statuses[response.StatusCode]++
	}
}

func together(number int, do func(number int)) {
	var all sync.WaitGroup
	for i := 0; i < number; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			do(i)
		}(i)
	}
	all.Wait()
}

func nothing() {}

func main() {
	flag.Parse()
	client = &http.Client{Transport: &http.Transport{MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000}}
	began := time.Now()
	switch *mode {
	case "reuse":
		together(*atOnce, func(worker int) {
			for i := 0; i < *count / *atOnce; i++ {
				method := []string{"GET", "POST"}[i%2]
				ask(method, *path, fmt.Sprintf("%s-%d-%d", *prefix, worker, i), nothing)
			}
		})
		say("done", began)
	case "concurrent":
		together(*count, func(i int) { ask("POST", *path, fmt.Sprintf("%s-%d", *prefix, i), nothing) })
		say("done", began)
	case "idle-post":
		idlePost()
	case "cancel":
		cancel()
	}
}

// Opens connections, then sends once over each of them for every line on stdin. Says when all are
// about to leave, and when all came back.
func idlePost() {
	began := time.Now()
	together(*atOnce, func(i int) { ask("GET", *warm, fmt.Sprintf("%s-warm-%d", *prefix, i), nothing) })
	say("warm", began)
	lines := bufio.NewScanner(os.Stdin)
	for round := 0; lines.Scan(); round++ {
		forget()
		began = time.Now()
		left := int64(*atOnce)
		together(*atOnce, func(i int) {
			ask(*method, *path, fmt.Sprintf("%s-%d-%d", *prefix, round, i), func() {
				if atomic.AddInt64(&left, -1) == 0 {
					fmt.Println(`{"event":"sent"}`)
				}
			})
		})
		say("done", began)
	}
}

// Leaves one request.
func cancel() {
	ctx, leave := context.WithCancel(context.Background())
	var once sync.Once
	var left time.Time
	now := func() { once.Do(func() { left = time.Now(); leave() }) }
	sent := func() {
		if *after == "sent" {
			fmt.Println(`{"event":"sent"}`)
			// The hook runs before the last bytes leave and must not hold them up. Whoever drives
			// us looks whether the worker has the request, and then says so.
			go func() {
				bufio.NewScanner(os.Stdin).Scan()
				now()
			}()
		}
	}
	response, err := request(ctx, "GET", *path, *prefix, sent)
	if err == nil {
		first := make([]byte, 1)
		_, err = io.ReadFull(response.Body, first)
		now()
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
		}
	}
	line, _ := json.Marshal(map[string]any{"event": "done", "error": fmt.Sprint(err), "left": left.UnixMilli()})
	fmt.Println(string(line))
}
