// What Go programs for custom runtimes look like: net/http on a port in the source.
// Built twice: without cgo it is linked statically, with it dynamically.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		self := r.Context().Value(http.LocalAddrContextKey)
		fmt.Fprintf(w, "{\"pid\":%d,\"self\":%q,\"peer\":%q}\n", os.Getpid(), fmt.Sprint(self), r.RemoteAddr)
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(body)
	})
	log.Fatal(http.ListenAndServe(":9000", nil))
}
