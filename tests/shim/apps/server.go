// A port from the command line (9000 if none); cgo or static, it makes its system calls itself.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	port := "9000"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("bound", listener.Addr())
	_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"pid":%d,"peer":%q,"host":%q}`, os.Getpid(), r.RemoteAddr, r.Host)
	}))
}
